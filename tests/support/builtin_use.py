"""The built-in tools, run as the LLM would run them."""

import asyncio
from typing import Any

from localvoice.engines.types import ToolCall
from localvoice.tools import ToolContext, ToolRegistry
from localvoice.tools.builtin import builtin_tools
from localvoice.tools.executor import ToolExecutor


async def use(name: str, announced: list[tuple[float, str]] | None = None, **arguments: Any) -> str:
    """What the tool says, or why it failed."""
    kept = [] if announced is None else announced

    def context_of(call: ToolCall) -> ToolContext:
        return ToolContext(call.call_id, "s", "t", asyncio.Event(), lambda *what: kept.append(what))

    executor = ToolExecutor(ToolRegistry(builtin_tools()))
    (result,) = await executor.run([ToolCall("c", name, arguments)], context_of)
    return str(result.result) if result.success else f"error: {result.error}"
