"""A tool's result: strict JSON of a limited size, made where it blocks nothing, and cut for the LLM."""

import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest

from localvoice.application.hooks import ToolResult
from localvoice.tools.result import CONTENT_BYTES, RESULT_BYTES, content_of
from tests.support.tool_calls import run_one


def success(value: Any) -> ToolResult:
    return ToolResult("c", "it", success=True, result=value)


async def test_results_become_strict_json() -> None:
    result = await run_one(lambda *_: {"set": {1}, "none": float("nan"), 2: b"bytes", "word": "ö"})
    assert content_of(result) == '{"set": [1], "none": null, "2": "bytes", "word": "ö"}'


@pytest.mark.parametrize("text", ["a" * 20_000, 'say "yes" \\ ' * 2000, "öü😀" * 5000, "\n" * 9000])
def test_a_long_result_is_cut_for_the_llm_with_a_note(text: str) -> None:
    content = content_of(success([text]))
    assert CONTENT_BYTES / 2 < len(content.encode()) <= CONTENT_BYTES
    whole = json.dumps([text], ensure_ascii=False)
    cut = json.loads(content)
    assert whole.startswith(cut["beginning"])
    assert f"{len(whole.encode())} bytes" in cut["note"]


def test_a_result_that_just_fits_is_whole() -> None:
    text = "a" * CONTENT_BYTES
    assert content_of(success(text)) == text
    assert "note" in json.loads(content_of(success(text + "a")))
    assert json.loads(content_of(success([text[:-4]]))) == [text[:-4]]
    assert "note" in json.loads(content_of(success([text[:-3]])))


def slow_rows() -> Iterator[int]:
    for number in range(20):
        time.sleep(0.1)
        yield number


def endless() -> Iterator[str]:
    while True:
        yield "and so on"


async def test_what_a_tool_yields_is_read_in_its_thread_and_by_its_deadline() -> None:
    """The loop would stand still otherwise, which fails the test."""
    result = await run_one(lambda *_: slow_rows(), timeout_seconds=0.3)
    assert "took longer than 0.3 seconds" in (result.error or "")
    result = await run_one(lambda *_: (number for number in range(3)))
    assert result.result == [0, 1, 2]


async def on_the_loop(*_: object) -> Any:
    return {"rows": endless()}


@pytest.mark.parametrize(
    "handler",
    [
        lambda *_: endless(),
        on_the_loop,
        lambda *_: "é" * 30_000_000,
        lambda *_: list(range(3_000_000)),
        lambda *_: [["a" * 1000] * 500, {"b": "c" * RESULT_BYTES}],
        lambda *_: repeat({}),
        lambda *_: repeat([]),
    ],
)
async def test_a_result_has_a_limit_and_does_not_block_the_loop(handler: Callable[..., Any]) -> None:
    result = await run_one(handler, timeout_seconds=20.0)
    assert "more than 1024 KiB" in (result.error or "")


@pytest.mark.parametrize(
    "kind", [list, deque, type("Rows", (list,), {}), lambda rows: OrderedDict(enumerate(rows))]
)
async def test_a_result_is_read_up_to_its_limit_alone(kind: Callable[[list[object]], object]) -> None:
    """Of any kind of list or mapping: the last of these items would be refused."""
    result = await run_one(lambda *_: kind([*["a" * 1000] * 2000, object()]))
    assert "more than 1024 KiB" in (result.error or "")
