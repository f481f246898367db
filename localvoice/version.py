"""The name and the version of this distribution."""

DISTRIBUTION = "localvoice-agent"
"""What packages call it; the import is `localvoice`."""

__version__ = "0.3.0"
