"""Which stretch of a Piper voice's sound says which word: how long each phoneme lasts, and whose it is.

A voice decides how long each phoneme lasts before it makes any sound, in the one `Ceil` node of its graph;
the model files just don't give that out. Which phonemes belong to which word is lost too: in a sentence words
are run together ("of the") and reduced. So the phonemes of the sentence are laid over those of its words,
each spoken alone.
"""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

import numpy as np

_STRESS: Final = "ˈˌː"
"""Letters to Unicode, but no sounds of their own."""

# Field numbers of onnx.proto.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE, _GRAPH_OUTPUT = 1, 12
_NODE_OUTPUT, _NODE_OPERATOR = 2, 4
_VALUE_NAME: Final = 1


def with_durations(model: bytes) -> bytes:
    """The ONNX model with the length of each phoneme as a second output, if it can be told which that is.

    Raises ValueError or IndexError where the file is no protocol buffer.
    """
    names = []
    outputs = []
    for graph in _parts(memoryview(model), _MODEL_GRAPH):
        for output in _parts(graph, _GRAPH_OUTPUT):
            outputs += [bytes(name) for name in _parts(output, _VALUE_NAME)]
        for node in _parts(graph, _GRAPH_NODE):
            if [bytes(operator) for operator in _parts(node, _NODE_OPERATOR)] == [b"Ceil"]:
                names += [bytes(name) for name in _parts(node, _NODE_OUTPUT)]
    if len(names) != 1 or names[0] in outputs:
        return model
    # A message that comes twice is merged, says the format's specification: what is appended here is one more
    # output of the same graph. So the file need not be understood any further, nor written anew.
    return model + _part(_MODEL_GRAPH, _part(_GRAPH_OUTPUT, _part(_VALUE_NAME, names[0])))


class WordEnds:
    """Where the words of one text end in its sound, told sentence by sentence as that is made."""

    def __init__(self, words: Sequence[Sequence[str]], spoken: Sequence[str]) -> None:
        """`words`: the phonemes of each word alone; `spoken`: those of the whole text."""
        self._ends = _laid_over([_sounds(word) for word in words], _sounds(spoken))
        self._passed = 0
        self._told = 0

    def take(self, phonemes: Sequence[tuple[str, float]]) -> tuple[float, ...]:
        """The next sentence's phonemes, each with its seconds: when the words end that end in it."""
        times, now = [0.0], 0.0
        for phoneme, seconds in phonemes:
            now += seconds
            if _is_sound(phoneme):
                times.append(now)
        counts = np.arange(self._passed, self._passed + len(times))
        self._passed = int(counts[-1])
        ends = [end for end in self._ends[self._told :] if end <= self._passed]
        self._told += len(ends)
        return tuple(float(second) for second in np.interp(ends, counts, times))


def _laid_over(words: Sequence[Sequence[str]], spoken: Sequence[str]) -> list[float]:
    """How many of the sounds that were spoken have passed at the end of each word."""
    own = [sound for word in words for sound in word]
    counts, passed = [0], [0]
    for block in SequenceMatcher(None, own, spoken, autojunk=False).get_matching_blocks():
        counts += [block.a, block.a + block.size]
        passed += [block.b, block.b + block.size]
    ends = np.cumsum([len(word) for word in words])
    return [float(end) for end in np.interp(ends, counts, passed)]


def _sounds(phonemes: Sequence[str]) -> list[str]:
    return [phoneme for phoneme in phonemes if _is_sound(phoneme)]


def _is_sound(phoneme: str) -> bool:
    return phoneme[0].isalnum() and phoneme not in _STRESS


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The contents of the fields of that number that hold messages or text."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        size = {0: 0, 1: 8, 5: 4}.get(key & 7)
        if key & 7 == 0:
            _, at = _varint(message, at)
        elif key & 7 == 2:
            size, at = _varint(message, at)
            if key >> 3 == wanted:
                yield message[at : at + size]
        if size is None:
            raise ValueError("it is no protocol buffer")
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        shift += 7
        at += 1
        if message[at - 1] < 128:
            return value, at


def _part(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
