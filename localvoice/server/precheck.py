"""What would keep the server from starting, found before the models are loaded."""

import errno
import os

from localvoice.config import ConfigError, ServerSettings
from localvoice.conversation.store import SessionStore
from localvoice.server.listener import listening_sockets


def check_before_loading(settings: ServerSettings, host: str) -> None:
    """Try the port and the folder for sessions. Reads, writes and binds; raises `ConfigError`."""
    check_port(host, settings.port)
    if settings.sessions_dir is not None:
        # The key is left out: to stretch it takes time, and the server does so when it starts.
        SessionStore(settings.sessions_dir, None).close()


def check_port(host: str, port: int) -> None:
    """Bind the port for a moment, as the server will. Raises `ConfigError` if another program has it."""
    try:
        for each in listening_sockets(host, port):
            each.close()
    except OSError as error:
        raise cannot_listen(host, port, error) from error


def cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """What a port that can't be had is answered with."""
    # asyncio writes addresses into its errors; a name that can't be resolved has no number of the system's.
    known = error.errno is not None and error.errno in errno.errorcode
    reason = os.strerror(error.errno or 0) if known else error.strerror or str(error)
    return ConfigError(
        f"The server can't listen on {host}:{port} ({reason}). If another one runs already, use that, or "
        "give this one a port of its own with --port."
    )
