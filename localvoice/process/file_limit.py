"""How many files and sockets this process may have open: many systems begin with few, and allow more."""

import logging
import resource
from typing import Final

log = logging.getLogger(__name__)

_WANTED: Final = 4096
"""A call takes a dozen; and clients that say nothing yet take some as well."""


def raise_file_limit() -> None:
    """For a program of its own, at its start: up to what the system allows without asking."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:
        log.warning("this process may have no more than %d files open: %s", soft, error)
