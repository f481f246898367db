"""Tools that are made by hand, calls of any tool, and arguments of all kinds."""

import asyncio
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from localvoice.engines.chat import ToolSpec
from localvoice.tools import Tool, ToolContext

CONTEXT = ToolContext("call", "session", "turn", asyncio.Event(), lambda seconds, text: None)
NUMBER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0}},
    "required": ["n"],
    "additionalProperties": False,
}


def by_hand(parameters: Mapping[str, Any], name: str = "by_hand") -> Tool:
    return Tool(ToolSpec(name, "Made by hand.", parameters), lambda arguments, context: arguments)


def call(which: Tool, **arguments: Any) -> Any:
    return which.handler(which.validate(arguments), CONTEXT)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["dish", "count", "size", "toppings", "day", "n", "other"]), JSON_VALUES, max_size=6
)
