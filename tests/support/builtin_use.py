"""The built-in tools, run as the LLM would run them."""

import asyncio
from collections.abc import Mapping
from typing import Any

from localvoice.application.hooks import ToolResult
from localvoice.engines.chat import ToolCall
from localvoice.tools import ToolContext, ToolRegistry
from localvoice.tools.builtin import builtin_tools
from localvoice.tools.executor import ToolExecutor
from localvoice.tools.reminders import Reminders


async def run_tool(name: str, arguments: Mapping[str, Any], reminders: Reminders | None = None) -> ToolResult:
    """What comes of a call; what it leaves to be said later is among the reminders."""
    kept = Reminders() if reminders is None else reminders

    def context_of(call: ToolCall) -> ToolContext:
        return ToolContext(call.call_id, "s", "t", asyncio.Event(), kept.after, kept)

    (result,) = await ToolExecutor(ToolRegistry(builtin_tools())).run(
        [ToolCall("c", name, arguments)], context_of
    )
    return result


async def use(name: str, announced: list[tuple[float, str]] | None = None, **arguments: Any) -> str:
    """What the tool says, or why it failed; `announced` takes in how many seconds it says what."""
    reminders = Reminders()
    result = await run_tool(name, arguments, reminders)
    if announced is not None:
        announced += [(round(seconds), text) for seconds, text in reminders.pending()]
    reminders.close()
    return str(result.result) if result.success else f"error: {result.error}"
