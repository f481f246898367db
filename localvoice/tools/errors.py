"""Why a tool can't do what it was called for."""


class ToolError(Exception):
    """Raise it in a tool to tell the LLM, in words that it can pass on, why the tool can't do that."""


class InvalidArgumentsError(ToolError):
    """A call's arguments don't fit the tool's schema; says what is wrong with which."""


class UnknownToolError(ToolError):
    """There is no tool of that name; says which there are."""
