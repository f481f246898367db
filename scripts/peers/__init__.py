"""localvoice beside other ways to build a voice agent, on the same models and clips: `make bench-peers`."""
