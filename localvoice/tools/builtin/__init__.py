"""The tools that every agent has by default. None of them reaches beyond the conversation."""

from dataclasses import replace

from localvoice.languages import DEFAULT, Language, ToolPhrases, language
from localvoice.tools import Tool
from localvoice.tools.builtin.arithmetic import calculate
from localvoice.tools.builtin.clock import get_time, set_timer
from localvoice.tools.builtin.units import convert_units


def builtin_tools(code: str = DEFAULT) -> tuple[Tool, ...]:
    """Time and date, timer, arithmetic, units, and the sentences of a language (ISO 639-1) that call them."""
    tools = get_time, set_timer, calculate, convert_units
    known = language(code)
    return tools if known is None else tuple(_in(known, tool) for tool in tools)


def _in(known: Language, tool: Tool) -> Tool:
    said = known.tools.get(tool.name, ToolPhrases())
    return replace(tool, phrases=said.phrases, follow_ups=said.follow_ups, cues=said.cues)
