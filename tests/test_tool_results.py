"""A tool's result as the LLM gets it: strict JSON, and cut where it is long."""

import json
from typing import Any

import pytest
from tool_calls import run_one

from localvoice.agent.hooks import ToolResult
from localvoice.agent.tools.executor import CONTENT_BYTES, content_of


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
    text = "a" * (CONTENT_BYTES - 2)
    assert json.loads(content_of(success(text))) == text
    assert "note" in json.loads(content_of(success(text + "a")))
