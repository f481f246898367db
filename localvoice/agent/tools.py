"""Tools: functions that the LLM may call. Interface; see the helper's task."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import asyncio

from localvoice.engines.protocols import ToolSpec


@dataclass(frozen=True)
class ToolContext:
    """What a tool knows of the conversation that called it."""

    call_id: str
    """The call's."""
    session_id: str
    """The session's."""
    turn_id: str
    """The turn's."""
    cancelled: asyncio.Event
    """Set when the user interrupted: the result is not wanted any more."""
    announce: Callable[[float, str], None]
    """After so many seconds the agent says this text, as soon as nobody speaks; also after the turn."""


@dataclass(frozen=True)
class Tool:
    """A function that the LLM may call."""

    spec: ToolSpec
    handler: Callable[[Mapping[str, Any], ToolContext], Awaitable[Any] | Any]
    policy: Literal["parallel", "sequential"] = "parallel"

    @property
    def name(self) -> str:
        return self.spec.name


class ToolRegistry:
    """The tools of an agent, by name."""

    def __init__(self, tools: "list[Tool] | tuple[Tool, ...]" = ()) -> None:
        self._by_name = {tool.name: tool for tool in tools}

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._by_name.values())
