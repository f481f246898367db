"""What can go wrong with the catalogue and its files. Each message says what to do."""


class CatalogError(Exception):
    """A catalogue file cannot be used; the message names the file, the entry and the field."""


class DownloadError(Exception):
    """Model files could not be downloaded; the message lists each with the reasons of all its sources."""


class ModelFilesError(Exception):
    """Model files are missing or damaged; the message names them and the command that repairs it."""


class SourceError(Exception):
    """A source did not give a file; the message is the reason."""


class NetworkSettingError(SourceError):
    """A variable or an option that can't be used; the message names it."""
