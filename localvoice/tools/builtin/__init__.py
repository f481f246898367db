"""The tools that every agent has by default. None of them reaches beyond the conversation."""

from dataclasses import replace

from localvoice.languages import DEFAULT, Language, ToolPhrases, language
from localvoice.tools import Tool
from localvoice.tools.builtin.arithmetic import calculate
from localvoice.tools.builtin.chance import pick_random
from localvoice.tools.builtin.clock import get_time
from localvoice.tools.builtin.dates import get_date
from localvoice.tools.builtin.spelling import spell
from localvoice.tools.builtin.timers.managing import manage_timers
from localvoice.tools.builtin.timers.setting import remind, set_alarm, set_timer
from localvoice.tools.builtin.units import convert_units

_TOOLS = (
    *(get_time, get_date, set_timer, set_alarm, remind, manage_timers),
    *(calculate, convert_units, spell, pick_random),
)


def builtin_tools(code: str = DEFAULT) -> tuple[Tool, ...]:
    """All of them, with the sentences of a language (ISO 639-1) that call them."""
    known = language(code)
    return _TOOLS if known is None else tuple(_in(known, tool) for tool in _TOOLS)


def _in(known: Language, tool: Tool) -> Tool:
    said = known.tools.get(tool.name, ToolPhrases())
    return replace(tool, usage=known.usage, **dict(said))
