"""Tools and calls of them, each with a context that is kept."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

from localvoice.application.hooks import ToolResult
from localvoice.engines.chat import ToolCall, ToolSpec
from localvoice.tools import Tool, ToolContext, ToolError, ToolRegistry
from localvoice.tools.executor import ToolExecutor

ANYTHING = {"type": "object"}


def made(
    handler: Callable[[Mapping[str, Any], ToolContext], Any],
    name: str = "it",
    policy: Literal["parallel", "sequential"] = "parallel",
) -> Tool:
    return Tool(ToolSpec(name, "Does it.", ANYTHING), handler, policy)


def calls(*names: str) -> list[ToolCall]:
    return [ToolCall(f"call-{number}", name, {}) for number, name in enumerate(names)]


class Contexts:
    """Gives each call its context and keeps it."""

    def __init__(self) -> None:
        self.by_id: dict[str, ToolContext] = {}
        self.announced: list[tuple[float, str]] = []

    def __call__(self, call: ToolCall) -> ToolContext:
        context = ToolContext(call.call_id, "session", "turn", asyncio.Event(), self._announce)
        self.by_id[call.call_id] = context
        return context

    def _announce(self, seconds: float, text: str) -> None:
        asyncio.get_running_loop()  # raises in any other thread
        if seconds < 0:
            raise ToolError("too late")
        self.announced.append((seconds, text))

    @property
    def cancelled(self) -> set[str]:
        return {call_id for call_id, context in self.by_id.items() if context.cancelled.is_set()}


async def run_one(handler: Callable[..., Any], **settings: Any) -> ToolResult:
    (result,) = await ToolExecutor(ToolRegistry([made(handler)]), **settings).run(calls("it"), Contexts())
    return result
