"""What a turn works with: the same for all turns of a session."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from localvoice.application.hooks import LlmRequest
from localvoice.audio.playout import Playout
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import ServerMessage
from localvoice.conversation.agent import Agent
from localvoice.conversation.blind import as_text, asks_about
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.director import Brief
from localvoice.conversation.forget_request import ForgetRequest, forget_request
from localvoice.conversation.history import History
from localvoice.conversation.speculation import Draft
from localvoice.engines.types import ChatMessage, Image, ToolOffer


class AgentState(StrEnum):
    """What the agent is doing."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"


@dataclass(frozen=True)
class Surroundings:
    """A session, as its turns see it."""

    agent: Agent
    """Models, settings, hooks, metrics, tools."""
    conversation: Conversation
    """History, director, reminders."""
    playout: Playout
    """Where the reply's sound goes."""
    emit: Callable[[ServerMessage], None]
    """Sends a message to the client."""
    enter: Callable[[AgentState, str], None]
    """Says what the agent is doing now, and which event made it so."""
    report: Callable[[VoiceError, str | None], None]
    """Tells the client, the hooks and the log of a failure in this turn."""
    draft: Draft
    """What was begun in a pause, and the way to the LLM and the voice."""
    forget: Callable[[ForgetRequest], Awaitable[str]]
    """Forgets for good what the user wants forgotten; the words that say so."""

    def foresee(self, words: str) -> LlmRequest | None:
        """What the LLM will be asked if the user has said this; None where that can't be told."""
        director = self.conversation.director
        if not words or forget_request(words) is not None or not director.foreseeable():
            return None
        asked = self.conversation.confirmation
        if asked is not None and asked.answered(words) is not None:
            return None  # first the call runs, or is refused, or the user is asked again
        images = self.conversation.attachments
        if self.answers_blind(words, images):
            return None
        history = self.conversation.history.copy()
        self.add_user(history, words, images)
        brief = director.brief()
        offer = brief.offer()
        prompt = tuple(self.prompt(brief, offer, history))
        return LlmRequest(prompt, brief.sampling, offer, self.agent.engines.llm.name)

    def answers_blind(self, words: str, images: Sequence[Image]) -> bool:
        """Whether the answer is that the model can't see these pictures."""
        return not self.agent.engines.llm.sees and asks_about(words, images)

    def add_user(self, history: History, words: str, images: Sequence[Image]) -> None:
        """Add what the user said; pictures too, if the model can see them."""
        if self.agent.engines.llm.sees:
            history.add_user(words, images)
        else:
            history.add_user(as_text(words, images))

    def prompt(
        self, brief: Brief, offer: ToolOffer | None, history: History | None = None
    ) -> list[ChatMessage]:
        """What the LLM is asked: as much of the past as its context holds beside the reply."""
        llm = self.agent.engines.llm
        # The longest reply may be as long as the context; half of it is left for what was said.
        room = llm.context_tokens - min(brief.sampling.max_tokens, llm.context_tokens // 2)

        def fits(messages: list[ChatMessage]) -> bool:
            return llm.prompt_tokens(messages, offer) <= room

        limit = self.agent.settings.agent.history_messages
        return (history or self.conversation.history).for_llm(brief.system_prompt, limit, fits)
