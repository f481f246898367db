"""Tools: functions that the LLM may call, what runs them, and the ones that every agent has."""

from localvoice.tools.errors import InvalidArgumentsError as InvalidArgumentsError
from localvoice.tools.errors import ToolError as ToolError
from localvoice.tools.errors import UnknownToolError as UnknownToolError
from localvoice.tools.tool import Tool as Tool
from localvoice.tools.tool import ToolContext as ToolContext
from localvoice.tools.tool import ToolRegistry as ToolRegistry
from localvoice.tools.tool import tool as tool
