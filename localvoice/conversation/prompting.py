"""What the LLM is asked: as much of the past as its context holds next to the reply."""

from dataclasses import dataclass

from localvoice.application.hooks import LlmRequest
from localvoice.conversation.agent import Agent
from localvoice.conversation.director import Brief
from localvoice.conversation.history import History
from localvoice.engines.types import ToolOffer


@dataclass(frozen=True)
class Prepared:
    """A request, tokenised, and where the past begins that it holds."""

    request: LlmRequest
    start: int
    """Index in the history: what is before it is left out from now on (`History.trim`)."""


async def prepare(agent: Agent, history: History, brief: Brief, offer: ToolOffer | None) -> Prepared:
    """The request for the next pass of the LLM. The history stays as it is.

    The template and the tokens are made off the event loop. Raises the LLM's `VoiceError`.
    """
    llm, settings = agent.engines.llm, agent.settings.agent
    # The longest reply may be as long as the context; half of it is left for what was said.
    room = llm.context_tokens - min(brief.sampling.max_tokens, llm.context_tokens // 2)
    shorter = history.copy().prompts(brief.system_prompt, settings.history_messages)
    messages, start = next(shorter)
    prompt = await llm.prompt(messages, offer)
    while prompt.tokens > room and (next_one := next(shorter, None)) is not None:
        messages, start = next_one
        prompt = await llm.prompt(messages, offer)
    return Prepared(LlmRequest(prompt, brief.sampling, offer, llm.name), start)
