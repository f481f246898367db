"""The tools that every agent has by default. None of them reaches beyond the conversation."""

from localvoice.tools import Tool
from localvoice.tools.builtin.arithmetic import calculate
from localvoice.tools.builtin.clock import get_time, set_timer
from localvoice.tools.builtin.units import convert_units


def builtin_tools() -> tuple[Tool, ...]:
    """Time and date, timer, arithmetic, units."""
    return get_time, set_timer, calculate, convert_units
