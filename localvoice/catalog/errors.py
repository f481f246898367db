"""What can go wrong with the catalogue and its files. Each message says what to do."""


class CatalogError(Exception):
    """A catalogue file cannot be used; the message names the file, the entry and the field."""


class DownloadError(Exception):
    """Model files could not be had; the message lists each with the reasons of all its sources."""


class ModelFilesError(Exception):
    """Model files are missing or damaged; the message names them and the command that mends it."""
