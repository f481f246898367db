"""A voice agent that runs wholly on your own machine, offline."""

__version__ = "0.1.0"
