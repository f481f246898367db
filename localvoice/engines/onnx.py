"""ONNX models: opened and run in a way that suits a process full of models, and divided into parts.

A model's protocol buffer is walked only as deep as names lie. Nodes and weights are copied byte by byte, so
a part costs no more than copying what it holds.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy.typing as npt

from localvoice.engines import keep_silent
from localvoice.engines.jobs import Stop
from localvoice.engines.patches import drop_model_bytes

keep_silent()
import onnxruntime as ort  # noqa: E402 - only now

Inputs = Mapping[str, npt.NDArray[Any]]
"""Arrays by the names that the model gives them."""
_JUST_ENOUGH: Final = {"max_mem": 0, "arena_extend_strategy": 1}
"""For a store that grows by what is asked for. By default it doubles."""
_SHARED_STORE: Final = ("session.use_env_allocators", "1")
_GIVE_BACK: Final = ("memory.enable_memory_arena_shrinkage", "cpu:0")
# Field numbers of onnx.proto.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE, _GRAPH_WEIGHT, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_VALUE_NAME, _VALUE_TYPE = 1, 2
_ATTRIBUTE_GRAPHS: Final = (6, 11)
_WEIGHT_NAME: Final = 8
_OF_FLOATS: Final = b"\x0a\x02\x08\x01"
"""A TypeProto: a tensor of float32, of any shape."""


class OnnxSession(Protocol):
    """A loaded model. Safe to use from several threads."""

    def run(self, outputs: None, inputs: Inputs, run_options: Any = None) -> list[npt.NDArray[Any]]: ...


def open_session(
    model: Path | bytes, threads: int, keep_memory: bool = True, stop: Stop | None = None
) -> OnnxSession:
    """The model, a file or its bytes, on the CPU, with that many threads. Raises what onnxruntime raises.

    `keep_memory`: hold on to what one run took for the next. Without it a very short run takes half as
    long again, and a longer one no longer; with it a single long input leaves the process much larger. A
    session that doesn't is for `run_stoppable`. Setting `stop` ends the loading, which may take seconds,
    and `Stopped` is raised.
    """
    options = ort.SessionOptions()  # type: ignore[attr-defined]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads would spin on the cores that another model computes on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = keep_memory
    if not keep_memory:
        _register_store()
        options.add_session_config_entry(*_SHARED_STORE)
    # Warnings about the graph are for those who exported it.
    options.log_severity_level = 3
    stop = stop or Stop()
    stop.on_set(lambda: options.set_load_cancellation_flag(True))
    try:
        session = ort.InferenceSession(  # type: ignore[attr-defined]
            model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception:
        stop.check()
        raise
    drop_model_bytes(session)
    return cast(OnnxSession, session)


@cache
def _register_store() -> None:
    """One store for all models that share it.

    What a run takes is allocated in large blocks, used again from node to node, and given back at the end of
    the run. Each piece by itself from the heap takes a fifth longer, and leaves the heap in pieces.
    """
    ort.create_and_register_allocator(  # type: ignore[attr-defined]
        ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT),  # type: ignore[attr-defined]
        ort.OrtArenaCfg(_JUST_ENOUGH),  # type: ignore[attr-defined]
    )


def run_stoppable(session: OnnxSession, inputs: Inputs, stop: Stop) -> list[npt.NDArray[Any]]:
    """Run the model; setting `stop` ends it between two of its nodes, and `Stopped` is raised.

    Afterwards it holds no memory but its weights.
    """
    options = ort.RunOptions()  # type: ignore[attr-defined]
    options.add_run_config_entry(*_GIVE_BACK)
    stop.on_set(lambda: setattr(options, "terminate", True))
    try:
        return session.run(None, inputs, options)
    except Exception:
        stop.check()
        raise


@dataclass(frozen=True)
class Submodel:
    """A model that is part of another."""

    model: bytes  # as a file would hold it
    inputs: frozenset[str]  # what it has to be given


@dataclass(frozen=True)
class _Node:
    field: memoryview
    operator: str
    reads: list[str]
    makes: list[str]


class Graph:
    """The graph of one model."""

    def __init__(self, model: bytes) -> None:
        """`model`: as a file holds it. Raises ValueError or IndexError where it is no protocol buffer."""
        self._rest: list[memoryview] = []
        self._graph_rest: list[memoryview] = []
        self._nodes: list[_Node] = []
        self._weights: dict[str, memoryview] = {}
        self._inputs: dict[str, memoryview] = {}
        self._outputs: dict[str, memoryview] = {}
        for number, field, content in _fields(memoryview(model)):
            if number == _MODEL_GRAPH:
                self._read(content)
            else:
                self._rest.append(field)

    @property
    def outputs(self) -> list[str]:
        return list(self._outputs)

    def made_by(self, operator: str) -> list[str]:
        """The values that nodes with this operator make."""
        return [name for node in self._nodes if node.operator == operator for name in node.makes]

    def read_with(self, weight: str) -> list[str]:
        """The first inputs of the nodes that read this weight."""
        return [node.reads[0] for node in self._nodes if weight in node.reads]

    def part(self, outputs: Sequence[str], given: Collection[str] = ()) -> Submodel:
        """What makes these values out of the model's inputs and the `given` values, which are float32.

        Only nodes and weights that it takes are in it.
        """
        needed = set(outputs)
        nodes: list[_Node] = []
        for node in reversed(self._nodes):  # a node stands after those that make what it reads
            if not needed.isdisjoint(node.makes):
                nodes.append(node)
                needed.update(name for name in node.reads if name not in given)
        read = {name for node in nodes for name in node.reads}
        values: dict[str, bytes | memoryview] = {
            name: field for name, field in self._inputs.items() if name in needed
        }
        values |= {name: _field(_GRAPH_INPUT, _value(name, _OF_FLOATS)) for name in given if name in read}
        graph = [
            *(node.field for node in reversed(nodes)),
            *self._graph_rest,
            *(field for name, field in self._weights.items() if name in needed),
            *values.values(),
            *(self._outputs.get(name) or _field(_GRAPH_OUTPUT, _value(name)) for name in outputs),
        ]
        size = sum(len(field) for field in graph)
        model = b"".join([*self._rest, _head(_MODEL_GRAPH, size), *graph])
        return Submodel(model, frozenset(values.keys() - self._weights.keys()))

    def _read(self, graph: memoryview) -> None:
        named = {
            _GRAPH_WEIGHT: (self._weights, _WEIGHT_NAME),
            _GRAPH_INPUT: (self._inputs, _VALUE_NAME),
            _GRAPH_OUTPUT: (self._outputs, _VALUE_NAME),
        }
        for number, field, content in _fields(graph):
            if number == _GRAPH_NODE:
                (operator,) = _texts(content, _NODE_OPERATOR)
                self._nodes.append(_Node(field, operator, _read_by(content), _texts(content, _NODE_OUTPUT)))
            elif number in named:
                fields, name = named[number]
                fields[_texts(content, name)[0]] = field
            elif number != _GRAPH_VALUE:  # these tell shapes that onnxruntime finds out by itself
                self._graph_rest.append(field)


def _read_by(node: memoryview) -> list[str]:
    """What a node reads, and what the graphs within it do: these see the values round them."""
    names = _texts(node, _NODE_INPUT)
    for attribute in _contents(node, _NODE_ATTRIBUTE):
        for number in _ATTRIBUTE_GRAPHS:
            for graph in _contents(attribute, number):
                for inner in _contents(graph, _GRAPH_NODE):
                    names += _read_by(inner)
    return names


def _value(name: str, kind: bytes = b"") -> bytes:
    return _field(_VALUE_NAME, name.encode()) + (_field(_VALUE_TYPE, kind) if kind else b"")


def _texts(message: memoryview, wanted: int) -> list[str]:
    return [bytes(content).decode() for content in _contents(message, wanted)]


def _contents(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (content for number, _, content in _fields(message) if number == wanted)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Each field: its number, all its bytes, and what it holds where that is a message or text."""
    at = 0
    while at < len(message):
        begun = at
        key, at = _varint(message, at)
        size = {0: 0, 1: 8, 2: 0, 5: 4}.get(key & 7)
        if size is None:
            raise ValueError("it is no protocol buffer")
        if key & 7 in (0, 2):
            value, at = _varint(message, at)
            size = value if key & 7 == 2 else 0
        end = at + size
        if end > len(message):
            raise ValueError("it ends too soon")
        yield key >> 3, message[begun:end], message[at:end]
        at = end


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        shift += 7
        at += 1
        if message[at - 1] < 128:
            return value, at


def _field(number: int, content: bytes) -> bytes:
    return _head(number, len(content)) + content


def _head(number: int, size: int) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(size)


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
