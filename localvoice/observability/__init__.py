"""What can be seen of a running agent: metrics, events in the log, and the sound of its turns."""
