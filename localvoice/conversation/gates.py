"""What the LLM is asked apart, before it talks, where a word of the user's is a reason to.

Each question has a short prompt of its own, read beforehand: told of all that it may do, a small model
answers worse. What it finds is a call; where it finds nothing, the next question is asked, and then it talks.
"""

from collections.abc import AsyncGenerator, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum, auto

from localvoice.application.hooks import LlmRequest
from localvoice.conversation.agent import Agent, Brief
from localvoice.conversation.message_forms import asked, last_call, recent
from localvoice.conversation.phrases.understood import Understood
from localvoice.engines.chat import CALL_OR_NOTHING, ChatMessage, ReplyItem
from localvoice.engines.types import Llm


class Gate(Enum):
    """A question."""

    DANGER = auto()
    """Whether someone is in danger."""
    TOOLS = auto()
    """Whether to call a tool."""


@dataclass(frozen=True)
class Prepared:
    """A request, tokenised, and where the past begins that it holds."""

    request: LlmRequest
    start: int = 0  # index in the history: what is before it is left out from now on (`History.trim`)
    notes: int = 0  # characters that the notes of it may have
    gate: Gate | None = None  # the question that it is; None where the LLM talks
    urgent: Understood | None = None  # what is said if the LLM finds that someone is in danger

    def asked(self, llm: Llm) -> AsyncGenerator[ReplyItem, None]:
        """The LLM's answer. A question is asked aside: what was read of the talk stays."""
        request = self.request
        return llm.reply(request.messages, request.sampling, request.offer, aside=self.gate is not None)


async def question(
    agent: Agent, brief: Brief, messages: Sequence[ChatMessage], passed: Set[Gate]
) -> Prepared | None:
    """The next question about what the user has said that has not been `passed`; None if there is none."""
    latest = asked(messages)
    if not latest or messages[-1].role == "assistant":
        return None  # that is answered
    words, before = messages[latest[-1]], messages[: latest[-1]]
    if Gate.DANGER not in passed and (found := await _about_danger(agent, brief, words)) is not None:
        return found
    if Gate.TOOLS in passed or not brief.is_gated:
        return None
    call, names = last_call(before), brief.cued(words.content)
    if call is not None and agent.understanding.goes_on(words.content):
        names += brief.following(call.name)
    return await _about_tools(agent, brief, messages, names) if names else None


async def _about_danger(agent: Agent, brief: Brief, words: ChatMessage) -> Prepared | None:
    understanding, llm = agent.understanding, agent.engines.llm
    asks, danger = agent.danger_question, understanding.sign_of_danger(words.content)
    if asks is None or danger is None:
        return None
    prompt = await llm.prompt([*asks.opening, replace(words, images=())], asks.offer)
    request = LlmRequest(prompt, brief.sampling, asks.offer, llm.name)
    return Prepared(request, gate=Gate.DANGER, urgent=understanding.help(danger))


async def _about_tools(
    agent: Agent, brief: Brief, messages: Sequence[ChatMessage], names: tuple[str, ...]
) -> Prepared | None:
    if (offer := brief.offer()) is None:
        return None
    # The prompt tells of all tools, so that it was read beforehand; those without a cue are not to be called.
    offer, llm = replace(offer, choice=CALL_OR_NOTHING, among=names), agent.engines.llm
    prompt = await llm.prompt([*brief.opening(talks=False), *recent(messages)], offer)
    return Prepared(LlmRequest(prompt, brief.sampling, offer, llm.name), gate=Gate.TOOLS)
