"""The tool calls of one turn: run or withheld, and told to the client, the hooks and the metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from localvoice.application.hooks import Rejection, ToolResult, TurnContext, consult, notify
from localvoice.audio.playout import Playout
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import ToolCallEnd, ToolCallStart
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.reporting import Reporter
from localvoice.engines.chat import CHOOSE_FREELY, ToolCall
from localvoice.observability.stopwatch import Stopwatch, now
from localvoice.tools import ToolContext, ToolRegistry, confirmation
from localvoice.tools.confirmation import Confirmation, Consent, Settled, question_of
from localvoice.tools.executor import ToolExecutor, why_it_failed
from localvoice.tools.result import content_of

MAX_CALLS: Final = 10
MAX_TOOL_SECONDS: Final = 60.0
"""Past either, the LLM must talk."""


@dataclass(eq=False, repr=False)
class ToolCalls:
    """Runs tools within one turn, with their hooks, messages and figures."""

    agent: Agent
    conversation: Conversation
    reporter: Reporter
    context: TurnContext
    playout: Playout
    utter: Callable[[str], Awaitable[None]]
    """Says the sentence of a hook that rejects a call."""
    settled: Settled | None = None
    """The call that the user was asked about, and has decided about with the words of this turn."""
    asks: Confirmation | None = None  # the call that the user is to be asked about now
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    """In the calls' order. A tool that fails is a result, too."""
    says: str = ""
    """What the tools of the last calls tell the user, where all of them speak for themselves."""

    def may_go_on(self, begun: float) -> bool:
        """Whether the LLM, which was first asked at this time, may call more."""
        # What had to be called has been.
        free = not self.calls or self.conversation.director.brief().tool_choice == CHOOSE_FREELY
        return free and len(self.calls) < MAX_CALLS and now() - begun < MAX_TOOL_SECONDS

    async def run(self, calls: Sequence[ToolCall]) -> None:
        """Run these; the history has their results then.

        A tool that asks first runs only if the user has agreed to this very call: one of them is asked about.
        """
        history = self.conversation.history
        history.add_calls(calls)
        await self.playout.released()  # perhaps the user is about to forbid it
        registry = ToolRegistry(self.conversation.director.brief().tools)
        self.asks = None
        withheld = [await self._withhold(registry, call) for call in calls]
        executor = ToolExecutor(registry, self.agent.settings.deadlines.tool_seconds)
        free = [call for call, result in zip(calls, withheld, strict=True) if result is None]
        ran = iter(await executor.run(free, self._tool_context, self._attended))
        results = [next(ran) if result is None else result for result in withheld]
        self.calls += calls
        self.results += results
        said = [result.says for result in results]
        self.says = " ".join(said) if all(said) else ""
        for result in results:
            history.add_result(result.call_id, content_of(result))

    async def _withhold(self, registry: ToolRegistry, call: ToolCall) -> ToolResult | None:
        """What to answer a call that must not run now; None if it may."""
        settled = self.settled
        if settled is not None and call is settled.call:
            if settled.answer is Consent.YES:
                return None
            refused = settled.answer is Consent.NO
            return _unrun(call, confirmation.REFUSED if refused else confirmation.UNANSWERED)
        if call.name not in registry.names or not (tool := registry.get(call.name)).confirm:
            return None
        if settled is not None and (call.name, call.arguments) == (settled.call.name, settled.call.arguments):
            return _unrun(call, confirmation.SETTLED_ALREADY)
        if self.asks is not None:
            return _unrun(call, confirmation.ONE_AT_A_TIME)
        try:
            tool.validate(call.arguments)
            question = question_of(tool.name, tool.confirm, call.arguments)
        except Exception as error:
            words = str(error) if isinstance(error, ValueError) else why_it_failed(tool.name, error)

            async def fail() -> ToolResult:
                return _unrun(call, words)

            return await self._attended(call, fail)
        self.asks = Confirmation.of(call, question)
        return _unrun(call, confirmation.NOT_AGREED)

    def _tool_context(self, call: ToolCall) -> ToolContext:
        return ToolContext(
            call_id=call.call_id,
            session_id=self.context.session_id,
            turn_id=self.context.turn_id,
            cancelled=asyncio.Event(),
            announce=self.conversation.reminders.after,
            reminders=self.conversation.reminders,
        )

    async def _attended(self, call: ToolCall, execute: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        hooks, emit, metrics = self.agent.hooks, self.reporter.emit, self.agent.metrics
        emit(ToolCallStart(call.name, call.call_id, call.arguments))
        watch = Stopwatch()
        try:
            await consult(hooks.on_tool_start, self.context, call)
            result = await execute()
        except Rejection as no:
            result = ToolResult(call.call_id, call.name, success=False, error=f"Not allowed: {no.reason}")
            if no.say:
                await self.utter(no.say)
        except asyncio.CancelledError:
            emit(ToolCallEnd(call.call_id, watch.timing().duration_ms, error="The user interrupted."))
            raise
        timing = watch.timing()
        metrics.increment(Metric.TOOL_CALLS, 1, {"tool": call.name})
        metrics.timing(Metric.TOOL_DURATION, timing.duration_ms, {"tool": call.name})
        emit(ToolCallEnd(call.call_id, timing.duration_ms, result.result, result.error))
        if result.success:
            await notify(hooks.on_tool_end, self.context, result, timing)
        else:
            metrics.increment(Metric.TOOL_ERRORS, 1, {"tool": call.name})
            words = f"The tool {call.name} failed: {result.error}"
            error = VoiceError(ErrorCode.TOOL_ERROR, Component.TOOL, words)
            await notify(hooks.on_tool_error, self.context, call, error)
            self.reporter.report(error, self.context.turn_id)
        return result


def _unrun(call: ToolCall, why: str) -> ToolResult:
    return ToolResult(call.call_id, call.name, success=False, error=why)
