"""The hooks of tools: a log of what the agent did, tried and failed to do.

python examples/tool_hooks.py
"""

import json
import sys
from typing import Any

from localvoice import Hooks, LocalVoice, Timing, ToolCall, ToolError, ToolResult, TurnContext, tool

LAMPS = {"kitchen": False, "bedroom": False}


@tool(policy="sequential")
async def switch_lamp(room: str, on: bool) -> str:
    """Switch the lamp of a room on or off."""
    if room not in LAMPS:
        raise ToolError(f"there is no lamp in the {room}; there are lamps in: {', '.join(LAMPS)}")
    LAMPS[room] = on
    return f"the lamp in the {room} is {'on' if on else 'off'}"


def _starts(ctx: TurnContext, call: ToolCall) -> None:
    _write("starts", ctx, call.call_id, tool=call.name, arguments=dict(call.arguments))


def _did_it(ctx: TurnContext, result: ToolResult, timing: Timing) -> None:
    _write("did it", ctx, result.call_id, result=result.result, milliseconds=timing.duration_ms)


def _failed(ctx: TurnContext, call: ToolCall, error: Exception) -> None:
    _write("failed", ctx, call.call_id, error=str(error))


def _write(event: str, ctx: TurnContext, call_id: str, **more: Any) -> None:
    json.dump({"event": event, "session": ctx.session_id, "call": call_id, **more}, sys.stdout)
    print()


def build() -> LocalVoice:
    """The agent, its tool, and a line of JSON for each of the tool's steps."""
    hooks = Hooks(on_tool_start=_starts, on_tool_end=_did_it, on_tool_error=_failed)
    return LocalVoice(tools=[switch_lamp], hooks=hooks)


def main() -> None:
    """Serve until Ctrl-C."""
    build().run()


if __name__ == "__main__":
    main()
