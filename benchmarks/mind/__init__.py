"""What the agent understands, and how useful its answers are."""
