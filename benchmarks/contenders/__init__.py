"""The voice agents that `peers` compares."""
