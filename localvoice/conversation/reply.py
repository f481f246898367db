"""The reply of one turn: asks the LLM, runs the tools that it calls, and gives the words to the voice."""

import asyncio
import logging
import math
from collections.abc import Set
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from localvoice.application.hooks import Rejection, TurnContext
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import LlmChunk, LlmReply, in_utf8
from localvoice.conversation.agent import Agent, Exchange, StageChange
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.gates import Gate, Prepared
from localvoice.conversation.known_answers import called, known_answer
from localvoice.conversation.llm_pass import LlmPass
from localvoice.conversation.phrases.understood import Command, Known, Silence, Understood
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.sentences import Reply, Splitter, Written, written
from localvoice.conversation.speaking import Piece, Speaker
from localvoice.conversation.speculation import Draft
from localvoice.conversation.tool_calls import MAX_CALLS, ToolCalls
from localvoice.engines.chat import CALL_NOTHING, CutOff, Retracted, Thinking, ToolCall
from localvoice.engines.speech_text import speakable
from localvoice.observability.stopwatch import now
from localvoice.tools.confirmation import GIVEN_UP, Confirmation, Consent, Settled

log = logging.getLogger(__name__)

MORE: Final = "Shall I go on?"
"""Said at the end of a reply that was cut off."""
THINKS: Final = "Let me think."
"""Said while the LLM reasons and has not yet answered."""
NO_WORDS: Final = "Sorry, I have no answer to that."
DONE: Final = "Done."
"""Said in place of a reply without words: `DONE` where all tools that were called did what they should."""


@dataclass(eq=False, repr=False)
class ReplyWriter:
    """Writes the reply of one turn."""

    agent: Agent
    conversation: Conversation
    reporter: Reporter
    context: TurnContext
    speaker: Speaker

    def __post_init__(self) -> None:
        self.draft: Draft | None = None  # the LLM's first pass, where it was begun early
        self.text = ""  # what was written so far
        self.first_token: float | None = None  # when the LLM wrote the first text, the event loop's time
        self.first_piece: float | None = None  # when the first piece that can be spoken was whole
        self.failure: VoiceError | None = None  # why the reply ends early
        self.asks: Confirmation | None = None  # the call that the reply ends with a question about
        self._given: Draft | None = None  # the draft, while nothing but what it holds has been written
        self._splitter = Splitter()
        self._tools = ToolCalls(
            self.agent, self.conversation, self.reporter, self.context, self.speaker.playout, self._utter
        )
        self._asked = math.inf  # when the LLM was asked first
        self._words = ""
        self._judged = self._uttered = self._worded = False
        self._complete = False  # whether the LLM needn't be asked any more
        self._passed: Set[Gate] = frozenset()  # what it has been asked already of what comes before it talks

    async def write(self, words: str, announcement: str, known: Known) -> None:
        """Say the announcement, or else answer what the user said."""
        await (self._utter(announcement) if announcement else self._answer(words, known))
        if self.speaker.is_cut:
            return  # an LLM may fail while it is cancelled: no piece is taken any more
        for piece in self._splitter.flush():
            await self._say(piece)
        if self.text:
            self.reporter.emit(LlmChunk("", done=True))
            self.reporter.emit(LlmReply(self.text))
        await self.speaker.pieces.put(None)

    async def conclude(self, heard: str) -> None:
        """The reply was cut short: what the user heard of it is what the next stage depends on."""
        if self._words and not self._judged:
            self._judged = True
            self.text = heard
            change = await self.conversation.director.after_reply(self._exchange())
            await self._change_stage(change, aloud=False)

    async def _answer(self, words: str, known: Known) -> None:
        """A failure is kept: what was written before it is still spoken."""
        self._words = words
        director = self.conversation.director
        try:
            await director.begin()
            match known:
                case Settled():
                    if known.answer is Consent.UNCLEAR:
                        await self._utter(GIVEN_UP)
                    self._tools.settled = known
                    await self._act([known.call])
                case Confirmation() | None:
                    await self._go_on(known)
                case _:
                    await self._carry_out(known)
            while self.asks is None and not self._complete and (calls := await self._ask_llm()):
                await self._act(calls)
            if not self._has_words and not isinstance(known, Silence):
                await self._break_silence()
            self._judged = True
            await self._change_stage(await director.after_reply(self._exchange()))
        except Rejection as no:
            # What was not heard yet is never said, and history keeps none of it.
            log.info("a reply was rejected: %s", no.reason)
            self._start_over("")
            self.speaker.drop_unheard()
            if no.say:
                await self._utter(no.say)
        except VoiceError as error:
            self.failure = error

    # --- what the LLM writes ---

    async def _ask_llm(self) -> list[ToolCall]:
        """One pass of the LLM: its text goes to the voice, its calls are returned."""
        self._asked = min(self._asked, now())
        prepared, reply = await self._pass()
        made, before = LlmPass(self.agent, self.context, prepared.request), self.text
        async with aclosing(made.items(reply)) as items:
            async for item in items:
                match item:
                    case Written():
                        await self._take(item)
                    case CutOff():
                        await self._end_early()
                    case Thinking():
                        await self._tell_thinking()
                    case Retracted():
                        self._take_back(before)
        await made.tell()
        if prepared.gate is not None and not made.calls and not made.texts:
            self._passed |= {prepared.gate}
            self.draft = None if self._given is None else self._given.next
            return await self._ask_llm()
        if prepared.urgent is not None and made.calls:
            await self._carry_out(prepared.urgent)
            return []
        offer = prepared.request.offer
        if offer is None or offer.choice == CALL_NOTHING:
            return []  # also where the LLM has called one
        return made.calls[: MAX_CALLS - len(self._tools.calls)]

    async def _pass(self) -> tuple[Prepared, Reply]:
        """The LLM's next pass: the draft, if there is one, or a new one."""
        draft, self.draft = self.draft, None
        self._given = draft
        conversation, llm = self.conversation, self.agent.engines.llm
        if draft is not None:
            prepared = await asyncio.shield(draft.prepared)  # whose work goes on until the draft is dropped
            reply, self._splitter = draft.reply, draft.splitter
        else:
            calls_left = self._tools.may_go_on(self._asked)
            prepared = await conversation.prepare(self.agent, calls_left=calls_left, passed=self._passed)
            reply = written(prepared.asked(llm), self._splitter)
        conversation.history.trim(prepared.start, prepared.notes)
        return prepared, reply

    async def _take(self, part: Written) -> None:
        if self.first_token is None:
            self.first_token = now() if self._given is None else self._given.first_token
        if self._uttered:
            self._append(" ")
            self._uttered = False
        self._append(part.text)
        for piece in part.pieces:
            await self._say(piece)

    def _take_back(self, before: str) -> None:
        """What the LLM has written in this pass was no answer: what is not heard of it yet is never said."""
        self.text, self._worded, self._given = before, bool(speakable(before)), None
        self.speaker.drop_unheard()

    async def _end_early(self) -> None:
        """The reply was cut off: leave its last sentence out, or open if it has begun, and offer more."""
        if self.speaker.is_cut or not self._has_words:
            return
        kept = self._splitter.end_early()
        self._start_over(f"{self.text.removesuffix(self._splitter.rest)}{kept}".rstrip())
        if kept:
            await self._say(kept)
        await self._utter(MORE)

    # --- what is said ---

    async def _utter(self, text: str) -> None:
        """Say this, as a part of the reply."""
        text = in_utf8(text)  # it may be the application's
        pieces = self._splitter.flush()
        self._append(f" {text}" if self.text else text)
        self._uttered = True
        for piece in pieces:
            await self._say(piece)
        self._start_over(self.text)
        await self._say(text)

    async def _tell_thinking(self) -> None:
        """The answer takes its time: the user hears that it is on its way. It is no word of it."""
        if not self._has_words:
            self._append(THINKS)
            self._uttered = True
            await self._say(THINKS)
            self._worded = False

    async def _say(self, piece: str) -> None:
        draft, sound = self._given, None
        if draft is not None:
            sound, draft.sound = draft.sound, None
        if self.first_piece is None:
            self.first_piece = (None if draft is None else draft.first_piece) or now()
        self._worded = self._worded or bool(speakable(piece))
        await self.speaker.pieces.put(Piece(piece, sound))

    def _append(self, text: str) -> None:
        if self.speaker.is_cut:
            return  # the client takes what is written from now on for the next reply
        self.text += text
        self.reporter.emit(LlmChunk(text))

    def _start_over(self, text: str) -> None:
        """This is the reply; what the LLM has written and the splitter not given is dropped."""
        self.text = text
        self._splitter = Splitter()
        self._given = None

    @property
    def _has_words(self) -> bool:
        """Whether there is anything to hear of the reply so far."""
        return self._worded or bool(speakable(self._splitter.rest))

    async def _break_silence(self) -> None:
        """The LLM had nothing to say, or no word of it: the user hears so, and history keeps none of it."""
        # A reply such as "..." in the history has small models write it again, turn after turn.
        log.info("a reply had no words: %d characters are dropped", len(self.text))
        self._start_over("")
        done = self._tools.results and all(result.success for result in self._tools.results)
        await self._utter(DONE if done else NO_WORDS)

    # --- tools and stages ---

    async def _carry_out(self, understood: Understood) -> None:
        """What takes no LLM to understand; it is asked only if a tool that was called doesn't speak."""
        if isinstance(understood, Command):
            self._passed = frozenset(Gate)
            await self._act([called(each) for each in (understood, *understood.then)])
            return
        self._complete = True
        for sentence in known_answer(understood, self.conversation, self.speaker, self.agent.engines.tts):
            await self._utter(sentence)

    async def _act(self, calls: list[ToolCall]) -> None:
        await self._tools.run(calls)
        moved = await self._go_on(self._tools.asks)
        if self._tools.says and not moved:
            self._complete = True
            await self._utter(self._tools.says)

    async def _go_on(self, asks: Confirmation | None) -> bool:
        """Whether another stage gives the answer. It may lack the tool that the user is to be asked about."""
        change = await self.conversation.director.after_calls(self._exchange())
        await self._change_stage(change)
        if asks is not None and change is None:
            self.asks = asks
            await self._utter(asks.question.text)
        return change is not None

    async def _change_stage(self, change: StageChange | None, aloud: bool = True) -> None:
        self.reporter.tell_judgement(self.conversation, change, self.context.turn_id)
        if change is None:
            return
        self.asks = None
        self.draft = None  # it answers in the stage before
        if change.clear_history and not self._judged:
            self.conversation.history.add_user(self._words)  # what is answered now is not the past
        if change.say and aloud:
            await self._utter(change.say)

    def _exchange(self) -> Exchange:
        return Exchange(
            self.context.turn_id,
            self._words,
            tuple(self._tools.calls),
            tuple(self._tools.results),
            self.text,
            tuple(self.conversation.history.messages),
            user_speaks=self.speaker.is_cut or self.speaker.playout.held,
        )
