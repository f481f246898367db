"""Timers, alarms and reminders: setting them, and what is done with those that are set."""
