"""HTTP, signalling, security and the web page."""
