"""A conversation: what stays of a session when its connection is gone, and what the LLM is asked in it.

It is kept for half an hour in case the client comes back, even if nothing was said, so an empty one is small.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from localvoice.application.hooks import LlmRequest
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import in_utf8
from localvoice.conversation import gates
from localvoice.conversation.agent import Agent, Director
from localvoice.conversation.gates import Gate, Prepared
from localvoice.conversation.history import History
from localvoice.conversation.manner import Manner
from localvoice.conversation.message_forms import last_answer, last_call
from localvoice.conversation.phrases.forgetting import forget_request
from localvoice.conversation.phrases.pictures import asks_about
from localvoice.conversation.phrases.understood import ASIDE, Understood
from localvoice.engines.chat import CHOOSE_FREELY
from localvoice.engines.pictures import Image, unseen
from localvoice.languages import DEFAULT
from localvoice.observability.stopwatch import now
from localvoice.tools.confirmation import Confirmation
from localvoice.tools.reminders import Reminders

log = logging.getLogger(__name__)

MAX_ATTACHMENTS: Final = 4
"""Pictures that may wait for the next utterance: a picture is many hundred tokens."""
MAX_ANNOUNCEMENTS: Final = 16
"""Announcements that may wait until a client hears them; the oldest go first."""


_NEXT_WORDS: Final = 64
"""Tokens that the user's next words may have without anything being left out at that moment."""
_TOKEN_CHARACTERS: Final = 4
"""Of a text, about."""
_NOTE_SHARE: Final = 8
"""Notes may take one part of so many of the context."""


@dataclass(eq=False, slots=True)
class Conversation:
    """Times are the event loop's."""

    id: str  # 128 random bits, made here; a client never chooses one
    director: Director
    history: History = field(default_factory=History)
    attachments: list[Image] = field(default_factory=list)  # pictures for the next utterance
    confirmation: Confirmation | None = None
    """The call that the user has been asked about. Belongs to this moment: it is never saved."""
    manner: Manner = Manner()  # how it is spoken
    last_reply: str = ""  # the last answer, as it was written: all of it, though perhaps not all was heard
    turns: int = 0  # how often the user has said something
    started: float = 0.0
    last_active: float = 0.0
    saved_at: float | None = None  # when it was last written to disk; None while it never was
    leave: Callable[[], asyncio.Event] | None = None
    """Tells the connection that has this conversation to let go of it; the event is set when it has.
    None while there is no connection."""
    announcements: list[str] = field(default_factory=list)
    """What the agent has to say of its own accord, once a client is there and no one speaks."""
    on_announcement: Callable[[], None] | None = None
    """Called when there is a new announcement; None while no client would hear it."""
    changes: int = 0
    """How often something but the history has changed of what the LLM is asked: pictures, the stage."""
    reminders: Reminders = field(init=False)  # what becomes an announcement when its time has come

    def __post_init__(self) -> None:
        self.reminders = Reminders(self.announce)

    @property
    def revision(self) -> int:
        """Goes up with each change of what the LLM would be asked next."""
        return self.history.revision + self.changes

    def touch(self) -> None:
        self.last_active = now()

    def announce(self, text: str) -> None:
        """Have the agent say this as soon as a client is there and no one speaks."""
        self.announcements.append(in_utf8(text))
        if len(self.announcements) > MAX_ANNOUNCEMENTS:
            log.warning("an announcement that no client came to hear is dropped: too many are waiting")
            del self.announcements[0]
        if self.on_announcement is not None:
            self.on_announcement()

    def attach(self, images: Sequence[Image]) -> None:
        """Keep pictures for the next utterance. Raises `VoiceError` INVALID_MESSAGE if all are too many.

        One takes the place of an earlier one with the same description: the stock client sends its camera's
        frame whenever the user makes a sound, and only the last is of what they then talk about.
        """
        described = {image.alt for image in images if image.alt}
        waiting = [image for image in self.attachments if image.alt not in described]
        if len(waiting) + len(images) > MAX_ATTACHMENTS:
            raise VoiceError(
                ErrorCode.INVALID_MESSAGE,
                Component.SERVER,
                f"At most {MAX_ATTACHMENTS} attachments can wait for the next utterance, and "
                f"{len(waiting)} do. These were not taken; say something first, or send fewer.",
            )
        self.attachments[:] = [*waiting, *images]
        self.changes += 1

    def take_attachments(self) -> tuple[Image, ...]:
        """The pictures that belong to what the user has just said."""
        taken = tuple(self.attachments)
        self.attachments.clear()
        return taken

    def add_words(self, words: str, sees: bool) -> bool:
        """The user has said this, with the pictures that wait. `sees`: the LLM can look at those.

        False, and nothing is kept of either, if it can't and the words ask about them.
        """
        self.turns += 1
        return _add_user(self.history, words, self.take_attachments(), sees)

    def add_understood(self, words: str, understood: Understood) -> None:
        """The user has said this, and it takes no LLM to answer; pictures wait on."""
        self.turns += 1
        self.history.add_user(words, aside=isinstance(understood, ASIDE))

    def understand(self, agent: Agent, words: str, code: str = DEFAULT) -> Understood | None:
        """What these words ask for, where it takes no LLM to know; `code` is their language, ISO 639-1."""
        brief = self.director.brief()
        tools = brief.tools if brief.tool_choice == CHOOSE_FREELY else ()
        pictures = self.attachments or any(message.images for message in self.history.messages)
        understanding = agent.understanding.of_pictures() if pictures else agent.understanding
        return understanding.of(words, tools, last_call(self.history.messages), code, self.last_answer)

    def history_with(self, agent: Agent, words: str) -> History | None:
        """The history as it will be if the user says this; None where not the LLM answers."""
        if not words or forget_request(words) is not None or not self.director.foreseeable():
            return None
        if self.understand(agent, words) is not None:
            return None
        asked = self.confirmation
        if asked is not None and asked.answered(words) is not None:
            return None  # first the call runs, or is refused, or the user is asked again
        history = self.history.copy()
        sees = agent.engines.llm.sees
        return history if _add_user(history, words, self.attachments, sees) else None

    async def make_room(self, agent: Agent) -> None:
        """Between turns: leave out now what the user's next words would push out of the LLM's context.

        Raises the LLM's `VoiceError`.
        """
        before = self.revision
        prepared = await self.prepare(agent, spare=_NEXT_WORDS)
        if self.revision == before:
            self.history.trim(prepared.start, prepared.notes)

    @property
    def last_answer(self) -> str:
        """What the user has heard last, all of it; empty if that is nothing."""
        return self.last_reply or last_answer(self.history.messages)

    async def prepare(
        self,
        agent: Agent,
        history: History | None = None,
        calls_left: bool = True,
        passed: Set[Gate] = frozenset(),
        spare: int = 0,
    ) -> Prepared:
        """The request for the next pass of the LLM, which must talk when it has no calls of tools left.

        `history` is what was said, if that isn't what it is now. `passed`: what it has been asked already of
        what is asked before it talks. `spare` tokens of the context stay free beyond those of the reply. The
        template and the tokens are made off the event loop. Raises the LLM's
        `VoiceError`.
        """
        past = self.history.copy() if history is None else history  # the copy, because this waits
        llm, brief = agent.engines.llm, self.director.brief()
        offer = brief.offer(calls_left)
        question = await gates.question(agent, brief, past.messages, passed) if calls_left else None
        if question is not None:
            return question
        if brief.is_gated:
            offer = None
        # The longest reply may be as long as the context; half of it is left for what was said.
        room = llm.context_tokens - min(brief.sampling.max_tokens, llm.context_tokens // 2) - spare
        limit, notes = agent.settings.agent.history_messages, note_room(agent)
        for messages, start in past.prompts(brief.system_prompt, limit, notes):
            prompt = await llm.prompt([*brief.opening(talks=offer is None), *messages[1:]], offer)
            prompt.talk = past.talk
            prepared = Prepared(LlmRequest(prompt, brief.sampling, offer, llm.name), start, notes)
            if prompt.tokens <= room:
                break
        return prepared

    def let_go_of_pictures(self) -> None:
        """Its client has gone. What it comes back to is words: pictures would wait in memory for nothing."""
        self.attachments.clear()
        self.history.let_go_of_pictures()

    def leave_stage(self, clear_history: bool) -> None:
        """A playbook's next stage begins, in which what was asked about may not be done."""
        self.confirmation = None
        self.changes += 1
        if clear_history:
            self.history.clear()
        else:
            self.history.read_again()  # another prompt goes before it

    def forget(self, everything: bool) -> int:
        """Forget the last exchange, or all that was said; how many of the user's messages that were.

        Pictures that wait for their next words go either way.
        """
        self.attachments.clear()
        self.last_reply = ""
        if not everything:
            self.history.read_again()  # the LLM forgets all that it has read
            return self.history.forget_last()
        count = self.history.exchanges
        self.history.clear()
        self.director.forget()
        self.announcements.clear()
        self.reminders.clear()
        return count


def note_room(agent: Agent) -> int:
    """Characters that the notes may have."""
    if not agent.settings.agent.summarise:
        return 0
    return agent.engines.llm.context_tokens * _TOKEN_CHARACTERS // _NOTE_SHARE


def _add_user(history: History, words: str, images: Sequence[Image], sees: bool) -> bool:
    """Add the user's words, with the pictures themselves where the LLM can look at them.

    False, and nothing is added, if it can't and the words ask about them.
    """
    if sees:
        history.add_user(words, images)
    elif asks_about(words, images):
        return False
    else:
        history.add_user("\n".join([*(unseen(image.alt) for image in images), words]))
    return True
