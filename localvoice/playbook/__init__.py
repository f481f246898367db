"""Playbooks: conversations in stages, written as YAML or built in Python."""
