"""The built-in tools, run as the LLM would run them."""

import asyncio
from typing import Any

from localvoice.agent.tools import ToolContext, ToolRegistry
from localvoice.agent.tools.builtin import builtin_tools
from localvoice.agent.tools.executor import ToolExecutor
from localvoice.engines.protocols import ToolCall


async def use(name: str, announced: list[tuple[float, str]] | None = None, **arguments: Any) -> str:
    """What the tool says, or why it failed."""
    kept = [] if announced is None else announced

    def context_of(call: ToolCall) -> ToolContext:
        return ToolContext(call.call_id, "s", "t", asyncio.Event(), lambda *what: kept.append(what))

    executor = ToolExecutor(ToolRegistry(builtin_tools()))
    (result,) = await executor.run([ToolCall("c", name, arguments)], context_of)
    return str(result.result) if result.success else f"error: {result.error}"
