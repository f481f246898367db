"""Private parts of sounddevice, as in 0.5.6; `pyproject.toml` keeps it below 0.6."""

from typing import Any


def restart_portaudio(library: Any) -> None:
    """Initialize PortAudio again, which is the only way for it to see devices come and go.

    There is no public function for it.
    """
    if library._initialized:  # it is not, if the last try failed halfway
        library._terminate()
    library._initialize()
