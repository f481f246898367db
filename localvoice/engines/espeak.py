"""espeak-ng, which gives Piper its phonemes, is told the voice once and not before each text.

Piper tells it each time, and each time it loads the voice anew and loses 1.7 kB: with every word of a reply
asked for alone, as `alignment` does, that was 18 MB an hour. It also took most of the phonemes' time.
Importing this module is enough.
"""

from localvoice.engines import keep_silent

keep_silent()
from piper import espeakbridge  # noqa: E402 - only now: it imports onnxruntime

_initialize = espeakbridge.initialize
_load = espeakbridge.set_voice
_loaded: str | None = None
"""The voice that it has. Piper holds a lock of its own round all calls."""


def _begin(data_dir: str) -> None:
    """In place of the binding's `initialize`, after which a voice has to be loaded again."""
    global _loaded
    _loaded = None
    _initialize(data_dir)


def _set_voice(voice: str) -> None:
    """In place of the binding's function. Raises what that raises, such as for a voice that there isn't."""
    global _loaded
    if voice != _loaded:
        _loaded = None  # should it fail, it has none
        _load(voice)
        _loaded = voice


espeakbridge.initialize = _begin
espeakbridge.set_voice = _set_voice
