"""Private parts of the libraries of the voices and the ONNX models."""

from functools import cache
from typing import Any

from localvoice.engines import keep_silent

keep_silent()
from piper import espeakbridge  # noqa: E402 - only now: it imports onnxruntime


@cache
def load_espeak_voices_once() -> None:
    """Have espeak-ng, which gives Piper its phonemes, load a voice once and not again for each text.

    Loading it loses memory each time, and takes most of the time of making phonemes. Piper does it for each
    text, and the words of a reply are asked for one by one. Looked at: piper-tts 1.8.0.
    """
    espeakbridge.initialize = _initialize
    espeakbridge.set_voice = _set_voice


_own_initialize = espeakbridge.initialize
_load = espeakbridge.set_voice
_loaded: str | None = None
"""The voice that espeak has loaded. Piper holds a lock of its own during all calls."""


def _initialize(data_dir: str) -> None:
    """In place of the binding's function, after which a voice has to be loaded again."""
    global _loaded
    _loaded = None
    _own_initialize(data_dir)


def _set_voice(voice: str) -> None:
    """In place of the binding's function. Raises what that raises, such as for an unknown voice."""
    global _loaded
    if voice != _loaded:
        _loaded = None  # if it fails, there is none
        _load(voice)
        _loaded = voice


def drop_model_bytes(session: Any) -> None:
    """Free the bytes that an `InferenceSession` was made of.

    It keeps them in addition to the weights that it made of them. Looked at: onnxruntime 1.31.1.
    """
    session._model_bytes = None
