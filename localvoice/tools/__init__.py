"""Tools: functions that the LLM may call, what runs them, and the ones that every agent has."""

from localvoice.tools.tool import (
    InvalidArgumentsError,
    Tool,
    ToolContext,
    ToolError,
    ToolRegistry,
    UnknownToolError,
    tool,
)

__all__ = [
    "InvalidArgumentsError",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolRegistry",
    "UnknownToolError",
    "tool",
]
