"""The tools that every agent has by default. None of them reaches beyond the conversation."""

from localvoice.agent.builtin_arithmetic import calculate
from localvoice.agent.builtin_time import get_time, set_timer
from localvoice.agent.builtin_units import convert_units
from localvoice.agent.tools import Tool


def builtin_tools() -> tuple[Tool, ...]:
    """Time and date, timer, arithmetic, units."""
    return get_time, set_timer, calculate, convert_units
