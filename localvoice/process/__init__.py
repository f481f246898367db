"""What only a program of its own does to its process: its memory, its output, its end."""
