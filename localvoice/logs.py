"""What the process logs, and what it doesn't: never what anyone said."""

import logging

from rich.console import Console
from rich.logging import RichHandler

_CHATTY = (
    "aioice",
    "aiortc",
    "asyncio",
    "httpx",
    "httpcore",
    "huggingface_hub",
    "faster_whisper",
    "piper",
    "filelock",
)
"""Libraries whose information is of use to their developers only; some of it holds transcripts."""


def set_up_logging(level: str, console: Console) -> None:
    """Send our log to the terminal; other libraries only warn."""
    logging.basicConfig(
        level=level.upper(),
        format="%(message)s",
        datefmt="%H:%M:%S",
        handlers=[RichHandler(console=console, show_path=False, rich_tracebacks=False)],
    )
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
