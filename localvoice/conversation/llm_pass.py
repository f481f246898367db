"""One pass of the LLM: what it wrote and called, told to the hooks and the metrics."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from localvoice.application.hooks import LlmRequest, LlmResult, StopReason, TurnContext, consult, notify
from localvoice.contract.errors import VoiceError
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.sentences import Reply, Written
from localvoice.engines.chat import CutOff, Retracted, Thinking, ToolCall
from localvoice.observability.stopwatch import Stopwatch


@dataclass
class LlmPass:
    """What the LLM is asked, and what it has given so far."""

    agent: Agent
    context: TurnContext
    request: LlmRequest
    texts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    reason: StopReason = "end_turn"
    watch: Stopwatch = field(default_factory=Stopwatch)

    async def items(self, reply: Reply) -> AsyncGenerator[Written | CutOff | Thinking | Retracted, None]:
        """What the LLM gives, but for its calls, which are in `calls`. Raises its `VoiceError`."""
        hooks = self.agent.hooks
        await notify(hooks.on_llm_start, self.context, self.request)
        self.watch = Stopwatch()
        try:
            async with aclosing(reply) as items:
                async for item in items:
                    if not isinstance(item, Thinking):
                        self.watch.note_first()
                    if isinstance(item, ToolCall):
                        self.calls.append(item)
                        self.reason = "tool_use"
                        continue
                    if isinstance(item, Written):
                        await notify(hooks.on_llm_chunk, self.context, item.text, len(self.texts))
                        self.texts.append(item.text)
                    elif isinstance(item, CutOff):
                        self.reason = "max_tokens"
                    elif isinstance(item, Retracted):
                        self.texts.clear()
                    yield item
        except VoiceError as error:
            await notify(hooks.on_llm_error, self.context, error)
            raise

    async def tell(self) -> None:
        """It is over. Raises a hook's `Rejection`."""
        timing, metrics = self.watch.timing(), self.agent.metrics
        tags = {"model": self.agent.engines.llm.name}  # who answered: a fallback may have taken over
        metrics.timing(Metric.LLM_DURATION, timing.duration_ms, tags)
        if timing.ttft_ms is not None:
            metrics.timing(Metric.LLM_TTFT, timing.ttft_ms, tags)
        metrics.increment(Metric.LLM_TOKENS, len(self.texts), tags)
        result = LlmResult("".join(self.texts), tuple(self.calls), self.reason)
        await consult(self.agent.hooks.on_llm_end, self.context, result, timing)
