"""The hands of one turn: runs the tools that the LLM calls, and tells everyone who wants to know."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from localvoice.agent.director import Brief
from localvoice.agent.hooks import Rejection, ToolResult, TurnContext, consult, notify
from localvoice.agent.stopwatch import Stopwatch
from localvoice.agent.surroundings import Surroundings
from localvoice.agent.tools import ToolContext, ToolRegistry
from localvoice.agent.tools.executor import ToolExecutor
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import ToolCallEnd, ToolCallStart
from localvoice.contract.metrics import Metric
from localvoice.engines.protocols import ToolCall


class Actor:
    """Runs tools within one turn, with their hooks, messages and figures."""

    def __init__(
        self, around: Surroundings, context: TurnContext, utter: Callable[[str], Awaitable[None]]
    ) -> None:
        """`utter` says a sentence, for a hook that rejects a call and speaks instead."""
        self._around = around
        self._context = context
        self._utter = utter

    async def run(self, brief: Brief, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        """All results, in the calls' order; a tool that fails is a result, too."""
        executor = ToolExecutor(ToolRegistry(brief.tools), self._around.agent.settings.deadlines.tool_seconds)
        return await executor.run(calls, self._tool_context, self._attended)

    def _tool_context(self, call: ToolCall) -> ToolContext:
        return ToolContext(
            call_id=call.call_id,
            session_id=self._context.session_id,
            turn_id=self._context.turn_id,
            cancelled=asyncio.Event(),
            announce=self._around.conversation.reminders.after,
        )

    async def _attended(self, call: ToolCall, execute: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        hooks, emit, metrics = self._around.agent.hooks, self._around.emit, self._around.agent.metrics
        emit(ToolCallStart(call.name, call.call_id, call.arguments))
        watch = Stopwatch()
        try:
            await consult(hooks.on_tool_start, self._context, call)
            result = await execute()
        except Rejection as no:
            result = ToolResult(call.call_id, call.name, success=False, error=f"Not allowed: {no.reason}")
            if no.say:
                await self._utter(no.say)
        except asyncio.CancelledError:
            emit(ToolCallEnd(call.call_id, watch.timing().duration_ms, error="The user interrupted."))
            raise
        timing = watch.timing()
        metrics.increment(Metric.TOOL_CALLS, 1, {"tool": call.name})
        metrics.timing(Metric.TOOL_DURATION, timing.duration_ms, {"tool": call.name})
        emit(ToolCallEnd(call.call_id, timing.duration_ms, result.result, result.error))
        if result.success:
            await notify(hooks.on_tool_end, self._context, result, timing)
        else:
            metrics.increment(Metric.TOOL_ERRORS, 1, {"tool": call.name})
            words = f"The tool {call.name} failed: {result.error}"
            error = VoiceError(ErrorCode.TOOL_ERROR, Component.TOOL, words)
            await notify(hooks.on_tool_error, self._context, call, error)
            self._around.report(error, self._context.turn_id)
        return result
