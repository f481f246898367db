"""Model files that end the process that reads them, or keep it for ever.

Good ones with a number changed in their head, or ONNX graphs written here. A catalogue may name each of them,
and its SHA-256 would be right.
"""

import struct
from pathlib import Path
from typing import Final

_GGUF_U32: Final = 4


def spoil_gguf(path: Path) -> None:
    """A language model of no layers: llama.cpp asserts that there are some, and aborts."""
    key = b"llama.block_count"
    with path.open("r+b") as file:
        at = file.read(65536).index(key) + len(key)
        file.seek(at)
        assert struct.unpack("<I", file.read(4)) == (_GGUF_U32,)
        file.write(struct.pack("<I", 0))


def spoil_ctranslate2(path: Path) -> None:
    """A decoder of no attention heads: CTranslate2 divides by their number."""
    name = b"decoder/num_heads\0"
    content = bytearray(path.read_bytes())
    at = content.index(name) + len(name)
    rank, _, length = struct.unpack_from("<BBI", content, at)
    assert (rank, length) == (0, 2)
    content[at + 6 : at + 6 + length] = bytes(length)
    path.write_bytes(content)


def endless_vad() -> bytes:
    """A voice activity model with a loop that goes round 2^63 times."""
    body = _message(
        (1, _node("Identity", ["running"], ["runs"])),
        (1, _node("Identity", ["value"], ["same"])),
        (2, b"body"),
        (11, _value("round", _INT64, scalar=True)),
        (11, _value("running", _BOOL)),
        (11, _value("value", _FLOAT)),
        (12, _value("runs", _BOOL)),
        (12, _value("same", _FLOAT)),
    )
    rounds = _message((1, 1), (2, _INT64), (9, struct.pack("<q", 2**63 - 1)), (8, b"rounds"))
    on = _message((1, 1), (2, _BOOL), (9, b"\1"), (8, b"on"))
    loop = _node("Loop", ["rounds", "on", "input"], ["output"], _message((1, b"body"), (6, body), (20, 5)))
    return _vad([loop, _node("Identity", ["state"], ["stateN"])], [rounds, on])


def bottomless_vad(depth: int = 10_000) -> bytes:
    """A voice activity model made of functions, each of which calls the next."""
    calls = [_message((1, b"input"), (2, b"output"), (4, b"F%d" % at), (7, b"own")) for at in range(depth)]
    calls.append(_node("Identity", ["input"], ["output"]))
    functions = [
        _message(
            (1, b"F%d" % at), (4, b"input"), (5, b"output"), (7, call), (9, _OPSET), (9, _OWN), (10, b"own")
        )
        for at, call in enumerate(calls[1:])
    ]
    return _vad([calls[0], _node("Identity", ["state"], ["stateN"])], [], *functions)


def hungry_vad(gigabytes: int = 3) -> bytes:
    """A voice activity model of a hundred bytes that fills gigabytes with zeros."""
    shape = _message((1, 1), (2, _INT64), (9, struct.pack("<q", gigabytes << 28)), (8, b"shape"))
    nodes = [
        _node("ConstantOfShape", ["shape"], ["zeros"]),
        _node("ReduceMax", ["zeros"], ["most"]),
        _node("Add", ["most", "input"], ["output"]),
        _node("Identity", ["state"], ["stateN"]),
    ]
    return _vad(nodes, [shape])


_FLOAT, _INT64, _BOOL = 1, 7, 9


def _vad(nodes: list[bytes], constants: list[bytes], *functions: bytes) -> bytes:
    """An ONNX model with the inputs and outputs that Silero's has."""
    graph = _message(
        *((1, node) for node in nodes),
        (2, b"vad"),
        *((5, constant) for constant in constants),
        (11, _value("input", _FLOAT)),
        (11, _value("state", _FLOAT)),
        (11, _value("sr", _INT64)),
        (12, _value("output", _FLOAT)),
        (12, _value("stateN", _FLOAT)),
    )
    return _message((1, 8), (7, graph), (8, _OPSET), (8, _OWN), *((25, function) for function in functions))


def _node(kind: str, inputs: list[str], outputs: list[str], *attributes: bytes) -> bytes:
    return _message(
        *((1, name.encode()) for name in inputs),
        *((2, name.encode()) for name in outputs),
        (4, kind.encode()),
        *((5, attribute) for attribute in attributes),
    )


def _value(name: str, kind: int, scalar: bool = False) -> bytes:
    """A tensor of any shape, or of none."""
    tensor = _message((1, kind), *(((2, b""),) if scalar else ()))
    return _message((1, name.encode()), (2, _message((1, tensor))))


def _message(*fields: tuple[int, int | bytes]) -> bytes:
    """Fields by their number, as protobuf writes them."""
    parts: list[bytes] = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_number(number << 3), _number(value)]
        else:
            parts += [_number(number << 3 | 2), _number(len(value)), value]
    return b"".join(parts)


def _number(value: int) -> bytes:
    content = b""
    while value > 0x7F:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])


_OPSET: Final = _message((1, b""), (2, 17))
_OWN: Final = _message((1, b"own"), (2, 1))
