"""What people say for numbers, lengths of time and times of day; and how they correct themselves."""
