"""How reliably the language model of a profile chooses between calling a tool and talking.

Asks it every request of a suite, with the built-in tools on offer. Right is the right tool with arguments
that come to what was wanted, or talk where no tool is needed. Prints a table and what went wrong, and writes
JSON.
"""

import asyncio
import json
import os
import statistics
import time
import tomllib
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.report import RESULTS, Out, Profile, progress, write_figures
from localvoice.catalog import load_catalog, models_folder, ready
from localvoice.config import SYSTEM_PROMPT
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.threads import plan_threads
from localvoice.engines.types import Llm
from localvoice.tools import ToolContext, ToolError
from localvoice.tools.builtin import builtin_tools
from localvoice.tools.reminders import Reminders

SUITE: Final = Path(__file__).parents[1] / "tests" / "support" / "data" / "tool_requests.toml"
TOOLS: Final = {tool.name: tool for tool in builtin_tools()}
OFFER: Final = ToolOffer(tuple(tool.spec for tool in TOOLS.values()))
FAILED: Final = "error: "
TALK_TOKENS: Final = 24
"""Of a spoken answer; what it says isn't judged."""


@dataclass(frozen=True)
class Answer:
    """What came of one request."""

    said: str
    wanted: str
    """The tool, or "talk"."""
    got: str
    tool_right: bool
    """Whether the right tool was called, or none where none was wanted."""
    right: bool
    """Whether its arguments are right as well."""
    first_ms: float
    """Until the first words or the call."""


def main(
    profile: Profile = "quality",
    suite: Annotated[Path, typer.Option(help="TOML of requests.")] = SUITE,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    requests = tomllib.loads(suite.read_text())["request"]
    answers = asyncio.run(_measure(profile, requests))
    result: dict[str, Any] = {"profile": profile, "suite": suite.stem, "cores": os.cpu_count()}
    result |= {"figures": _figures(answers), "answers": [asdict(answer) for answer in answers]}
    _show(result, answers, Console())
    write_figures(out, f"tools-{profile}", result)


async def _measure(profile: str, requests: list[dict[str, Any]]) -> list[Answer]:
    files = ready(load_catalog(), profile, models_folder())
    llm = await LlamaLlm.load(files.profile.llm, files.llm_file, plan_threads(device="cpu"))
    try:
        await llm.prepare([ChatMessage("system", SYSTEM_PROMPT)], OFFER)
        answers = []
        for number, request in enumerate(requests):
            answers.append(await _answer(llm, request))
            progress(f"request {number + 1}/{len(requests)}")
        progress("")
        return answers
    finally:
        await llm.close()


async def _answer(llm: Llm, request: Mapping[str, Any]) -> Answer:
    messages = [ChatMessage("system", SYSTEM_PROMPT)]
    for index, words in enumerate([*request.get("before", ()), request["said"]]):
        messages.append(ChatMessage("assistant" if index % 2 else "user", words))
    call, words, first_ms = await _ask(llm, messages)
    wanted = request.get("tool", "talk")
    if call is not None and call.name in request.get("or", ()):
        wanted = call.name
    if call is None:
        return Answer(request["said"], wanted, words, wanted == "talk", wanted == "talk", first_ms)
    right = await _judge(call, wanted, request.get("arguments", {}))
    got = f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}"
    return Answer(request["said"], wanted, got, call.name == wanted, right, first_ms)


async def _ask(llm: Llm, messages: list[ChatMessage]) -> tuple[ToolCall | None, str, float]:
    begun = time.monotonic()
    first_ms = 0.0
    words = ""
    async with aclosing(llm.reply(messages, Sampling(max_tokens=TALK_TOKENS), OFFER)) as items:
        async for item in items:
            first_ms = first_ms or 1000 * (time.monotonic() - begun)
            if isinstance(item, ToolCall):
                return item, words, first_ms
            words += item if isinstance(item, str) else ""
    return None, words, first_ms


async def _judge(call: ToolCall, wanted: str, arguments: Mapping[str, Any]) -> bool:
    """Whether the call is as good as the one that was wanted."""
    result, seconds = await _run(call.name, call.arguments)
    if call.name != wanted or result.startswith(FAILED):
        return False
    if "seconds" in arguments:
        return seconds == float(arguments["seconds"])
    if wanted == "get_time":
        said, meant = (str(each.get("place", "")).lower() for each in (call.arguments, arguments))
        return meant in said if meant else not result.startswith("In ")
    return result == (await _run(wanted, arguments))[0]


async def _run(name: str, arguments: Mapping[str, Any]) -> tuple[str, float]:
    """What the tool answers, and in how many seconds it has something to say."""
    reminders = Reminders()
    context = ToolContext("", "", "", asyncio.Event(), reminders.after, reminders)
    tool = TOOLS[name]
    try:
        made = tool.handler(tool.validate(arguments), context)
        said = str(made if isinstance(made, str) else await made)
        return said, next((float(round(left)) for left, _ in reminders.pending()), 0.0)
    except ToolError as error:
        return f"{FAILED}{error}", 0.0
    finally:
        reminders.close()


def _figures(answers: list[Answer]) -> dict[str, Any]:
    """Per cent and medians."""
    calls = [answer for answer in answers if answer.wanted != "talk"]
    talks = [answer for answer in answers if answer.wanted == "talk"]
    figures: dict[str, Any] = {}
    for name, some in (("all", answers), ("need a tool", calls), ("need none", talks)):
        if some:
            figures[name] = {
                "requests": len(some),
                "tool right": round(100 * statistics.mean(answer.tool_right for answer in some), 1),
                "right": round(100 * statistics.mean(answer.right for answer in some), 1),
                "first ms": round(statistics.median(answer.first_ms for answer in some)),
            }
    return figures


def _show(result: dict[str, Any], answers: list[Answer], console: Console) -> None:
    table = Table(
        "requests", "n", "tool or talk right %", "arguments, too %", "first item, ms p50",
        title=f"{result['suite']} · profile {result['profile']} · {result['cores']} cores",
    )  # fmt: skip
    for name, row in result["figures"].items():
        table.add_row(name, *map(str, row.values()))
    console.print(table)
    for answer in answers:
        if not answer.right:
            console.print(f"wrong: {answer.said!r} → {answer.got!r} instead of {answer.wanted}", markup=False)
