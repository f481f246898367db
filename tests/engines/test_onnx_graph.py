"""Parts of a model's graph, cut out of its bytes: a graph made by hand, and the real voice's."""

import sys

import numpy as np
import pytest

from localvoice.engines.jobs import Stop
from localvoice.engines.onnx import Graph, _as_varint, _field, _fields, open_session, run_stoppable
from tests.support.folders import MODELS

VOICE = MODELS / "en_US-joe-medium" / "en_US-joe-medium.onnx"


def node(operator: str, reads: str, makes: str, inner: bytes = b"") -> bytes:
    """Space-separated names; `inner`: a graph that the node holds."""
    names = [_field(1, name.encode()) for name in reads.split()] + [_field(2, makes.encode())]
    held = _field(5, _field(6, inner)) if inner else b""
    return _field(1, b"".join(names) + _field(4, operator.encode()) + held)


def value(number: int, name: str) -> bytes:
    """A float input (11) or output (12)."""
    return _field(number, _field(1, name.encode()) + _field(2, b"\x0a\x02\x08\x01"))


def weight(name: str, number: float) -> bytes:
    return _field(5, b"\x10\x01" + _field(8, name.encode()) + _field(9, np.float32(number).tobytes()))


def model(*parts: bytes) -> bytes:
    """IR version 8, opset 15."""
    return b"\x08\x08" + _field(8, b"\x10\x0f") + _field(7, b"".join([*parts, _field(2, b"g")]))


# y = (x * a + b) * c, and also the rounded-up x.
CHAIN = model(
    node("Mul", "x a", "m"),
    node("Ceil", "x", "up"),
    node("Add", "m b", "s"),
    node("Mul", "s c", "y"),
    weight("a", 2),
    weight("b", 3),
    weight("c", 5),
    value(11, "x"),
    value(12, "y"),
)


def run(model: bytes, **inputs: float) -> list[float]:
    arrays = {name: np.array(number, np.float32) for name, number in inputs.items()}
    return [float(out) for out in run_stoppable(open_session(model, 1), arrays, Stop())]


def test_the_halves_make_what_the_whole_makes() -> None:
    graph = Graph(CHAIN)
    assert run(CHAIN, x=1.5) == [30.0]
    first, second = graph.part(["s", "up"]), graph.part(["y"], given=["s"])
    assert first.inputs == {"x"} and second.inputs == {"s"}
    assert run(first.model, x=1.5) == [6.0, 2.0]
    assert run(second.model, s=6.0) == [30.0]


def test_a_part_holds_no_node_and_no_weight_that_it_does_not_need() -> None:
    graph = Graph(CHAIN)
    for part, nodes, weights in (
        (graph.part(["s"]), 2, ["a", "b"]),
        (graph.part(["y"], given=["s"]), 1, ["c"]),
        (graph.part(["y"]), 3, ["a", "b", "c"]),
    ):
        cut = Graph(part.model)
        assert len(cut._nodes) == nodes
        assert list(cut._weights) == weights


def test_it_is_known_who_makes_and_reads_what() -> None:
    graph = Graph(CHAIN)
    assert graph.outputs == ["y"]
    assert graph.made_by("Ceil") == ["up"] and graph.made_by("Mul") == ["m", "y"]
    assert graph.read_with("c") == ["s"] and graph.read_with("none") == []


def test_a_cut_that_something_goes_round_needs_the_first_input_too() -> None:
    around = model(
        node("Mul", "x a", "m"), node("Add", "m x", "y"), weight("a", 2), value(11, "x"), value(12, "y")
    )
    assert Graph(around).part(["y"], given=["m"]).inputs == {"m", "x"}


def test_what_a_graph_within_a_node_reads_is_kept() -> None:
    inner = node("Mul", "m a", "z")
    outer = model(
        node("Add", "x x", "m"), node("If", "x", "y", inner), weight("a", 2), value(11, "x"), value(12, "y")
    )
    part = Graph(Graph(outer).part(["y"]).model)
    assert len(part._nodes) == 2 and list(part._weights) == ["a"]


def test_a_model_that_is_open_does_not_keep_the_bytes_it_came_from() -> None:
    held = sys.getrefcount(CHAIN)
    session = open_session(CHAIN, 1)
    assert sys.getrefcount(CHAIN) == held
    assert session is not None


@pytest.mark.parametrize("damaged", [b"no model", b"\xff", b"\x3a\xff", CHAIN[:-5]])
def test_what_is_no_model_is_refused(damaged: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        Graph(damaged)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32])
def test_numbers_are_encoded_as_protocol_buffers_do(number: int) -> None:
    encoded = _as_varint(number)
    assert sum((byte & 127) << 7 * at for at, byte in enumerate(encoded)) == number
    assert [byte >= 128 for byte in encoded] == [True] * (len(encoded) - 1) + [False]


def test_fields_of_every_kind_are_walked() -> None:
    message = b"\x08\x96\x01" + b"\x11" + bytes(8) + _field(3, b"text") + b"\x25" + bytes(4)
    walked = [
        (number, bytes(field), bytes(content)) for number, field, content in _fields(memoryview(message))
    ]
    assert [number for number, _, _ in walked] == [1, 2, 3, 4]
    assert b"".join(field for _, field, _ in walked) == message
    assert walked[2][2] == b"text"


@pytest.mark.integration
def test_no_weight_of_a_real_voice_is_in_both_halves() -> None:
    if not VOICE.is_file():
        pytest.skip("en_US-joe-medium isn't downloaded: make download-models PROFILE=tiny")
    file = VOICE.read_bytes()
    graph = Graph(file)
    (latent,) = graph.read_with("dec.conv_pre.weight")
    halves = graph.part([latent, *graph.made_by("Ceil")]), graph.part(graph.outputs, [latent])
    assert halves[1].inputs == {latent}
    assert sum(len(half.model) for half in halves) <= len(file)
