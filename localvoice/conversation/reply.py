"""The reply of one turn: asks the LLM, runs the tools that it calls, and gives the words to the voice."""

import logging
from contextlib import aclosing
from functools import cached_property
from typing import Final

from localvoice.application.hooks import Rejection, ToolResult, TurnContext
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import LlmChunk, LlmReply, StageChangeMessage, in_utf8
from localvoice.conversation.agent import Agent, Exchange, StageChange
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.models import Models, Piece, Prepared, Reply, Written, prepare, written
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.sentences import Pieces, ends_within_sentence
from localvoice.conversation.speaking import Speaker
from localvoice.conversation.speculation import Draft
from localvoice.conversation.tool_calls import ToolCalls
from localvoice.engines.speech_text import speakable
from localvoice.engines.types import CALL_NOTHING, CHOOSE_FREELY, CutOff, ToolCall
from localvoice.observability.stopwatch import now
from localvoice.tools.confirmation import GIVEN_UP, Confirmation, Consent, Settled
from localvoice.tools.result import content_of

log = logging.getLogger(__name__)

MORE: Final = "Shall I go on?"
"""Said at the end of a reply that was cut off."""
NO_WORDS: Final = "Sorry, I have no answer to that."
DONE: Final = "Done."
"""Said in place of a reply without words: `DONE` where all tools that were called did what they should."""

MAX_CALLS: Final = 10
MAX_TOOL_SECONDS: Final = 60.0
"""Past either, the LLM must talk."""


class ReplyWriter:
    """Writes the reply of one turn."""

    def __init__(
        self,
        agent: Agent,
        conversation: Conversation,
        reporter: Reporter,
        models: Models,
        speaker: Speaker,
        context: TurnContext,
    ) -> None:
        self._agent = agent
        self._conversation = conversation
        self._reporter = reporter
        self._models = models
        self._speaker = speaker
        self._context = context
        self.draft: Draft | None = None
        """The LLM's first pass, where it was begun early."""
        self._given: Draft | None = None  # the draft, while nothing but what it holds has been written
        self._splitter = Pieces()
        self._words, self._worded = "", False
        self._calls: list[ToolCall] = []
        self._results: list[ToolResult] = []
        self._judged = self._uttered = self._cut = False
        self.reply = ""
        """What was written so far."""
        self._asked: float | None = None  # when the LLM was asked first
        self.first_token: float | None = None
        """When the LLM wrote the first text, the event loop's time."""
        self.first_piece: float | None = None
        """When the first piece that can be spoken was whole."""
        self.failure: VoiceError | None = None
        """Why the reply ends early."""
        self.asks: Confirmation | None = None
        """The call that the reply ends with a question about."""

    @cached_property
    def tools(self) -> ToolCalls:
        """Runs what the LLM calls."""
        return ToolCalls(self._agent, self._conversation, self._reporter, self._context, self.utter)

    async def answer(self, words: str, answered: Settled | Confirmation | None = None) -> None:
        """Answer what the user said. A failure is kept: what was written before it is still spoken.

        `answered` is what these words make of a question about a call: it is settled, or asked again.
        """
        self._words = words
        director = self._conversation.director
        try:
            await director.begin()
            if isinstance(answered, Settled):
                await self._settle(answered)
            else:
                change = await director.after_calls(self._exchange())
                await self._change_stage(change)
                if answered is not None and change is None:  # another stage may not have the tool
                    await self._ask(answered)
            while self.asks is None and (calls := await self._write()):
                await self._act(calls)
            if not self._has_words:
                await self._break_silence()
            self._judged = True
            await self._change_stage(await director.after_reply(self._exchange()))
        except Rejection as no:
            await self._take_back(no)
        except VoiceError as error:
            self.failure = error

    def cut(self) -> None:
        """The reply is cut short: nothing more is added to it, though its task may not know yet."""
        self._cut = True

    async def conclude(self, heard: str) -> None:
        """The reply was cut short: what the user heard of it is what the next stage depends on."""
        if self._words and not self._judged:
            self._judged = True
            self.reply = heard
            change = await self._conversation.director.after_reply(self._exchange())
            await self._change_stage(change, aloud=False)

    async def utter(self, text: str) -> None:
        """Say this, as a part of the reply."""
        text = in_utf8(text)  # it may be the application's
        pieces = self._splitter.flush()
        self._append(f" {text}" if self.reply else text)
        self._uttered = True
        for piece in pieces:
            await self._say(piece)
        self._start_over()
        await self._say(text)

    async def finish(self) -> None:
        """The reply is at its end."""
        for piece in self._splitter.flush():
            await self._say(piece)
        if self.reply:
            self._reporter.emit(LlmChunk("", done=True))
            self._reporter.emit(LlmReply(self.reply))
        await self._speaker.end()

    async def _write(self) -> list[ToolCall]:
        """One pass of the LLM: its text goes to the voice, its calls are returned."""
        if self._asked is None:
            self._asked = now()
        calls: list[ToolCall] = []
        prepared, written_ = await self._pass()
        async with aclosing(self._models.write(prepared.request, written_)) as items:
            async for item in items:
                if isinstance(item, ToolCall):
                    calls.append(item)
                elif isinstance(item, CutOff):
                    await self._end_early()
                else:
                    await self._take(item)
        offer = prepared.request.offer
        if offer is None or offer.choice == CALL_NOTHING:
            return []  # whatever the LLM wants
        return calls[: MAX_CALLS - len(self._calls)]

    async def _pass(self) -> tuple[Prepared, Reply]:
        """The LLM's next pass: the draft, if there is one, or a new one."""
        draft, self.draft = self.draft, None
        self._given = draft
        conversation = self._conversation
        if draft is not None:
            prepared = await draft.prepared()
            items, self._splitter = draft.items(), draft.splitter
        else:
            past = conversation.history.copy()
            prepared = await prepare(self._agent, conversation, past, self._may_call())
            request = prepared.request
            reply = self._agent.engines.llm.reply(request.messages, request.sampling, request.offer)
            items = written(reply, self._splitter)
        conversation.history.trim(prepared.start)
        return prepared, items

    async def _take(self, part: Written) -> None:
        if self.first_token is None:
            self.first_token = now() if self._given is None else self._given.first_token
        if self._uttered:
            self._append(" ")
            self._uttered = False
        self._append(part.text)
        for piece in part.pieces:
            await self._say(piece)

    async def _say(self, piece: str) -> None:
        sound = None if self._given is None else self._given.take_sound()
        if self.first_piece is None:
            self.first_piece = (self._given.first_piece if self._given is not None else None) or now()
        self._worded = self._worded or bool(speakable(piece))
        await self._speaker.say(Piece(piece, sound))

    def _start_over(self) -> None:
        """What the LLM has written and the splitter not given is dropped."""
        self._splitter = Pieces()
        self._given = None

    @property
    def _has_words(self) -> bool:
        """Whether there is anything to hear of the reply so far."""
        return self._worded or bool(speakable(self._splitter.rest))

    async def _end_early(self) -> None:
        """The reply was cut off: leave its last sentence out, or open if it has begun, and offer more."""
        rest = self._splitter.rest
        if self._cut or not self._has_words:
            return
        written, kept = self.reply.removesuffix(rest), rest
        if ends_within_sentence(rest):
            # The last word may lack its end. There may be none behind a clause that was given.
            kept = rest.rsplit(None, 1)[0].rstrip(",;:") + "…" if rest.strip() else ""
            kept = "" if self._splitter.rest_stands_alone else kept
        self.reply = f"{written}{kept}".rstrip()
        self._start_over()
        if kept:
            await self._say(kept)
        await self.utter(MORE)

    def _append(self, text: str) -> None:
        if self._cut:
            return  # the client takes what is written from now on for the next reply
        self.reply += text
        self._reporter.emit(LlmChunk(text))

    async def _act(self, calls: list[ToolCall]) -> None:
        history = self._conversation.history
        history.add_calls(tuple(calls))
        await self._speaker.released()  # perhaps the user is about to forbid it
        acted = await self.tools.run(self._conversation.director.brief(), calls)
        for result in acted.results:
            history.add_result(result.call_id, content_of(result))
        self._calls += calls
        self._results += acted.results
        change = await self._conversation.director.after_calls(self._exchange())
        await self._change_stage(change)
        if acted.asks is not None and change is None:  # another stage may not have the tool
            await self._ask(acted.asks)

    async def _settle(self, settled: Settled) -> None:
        if settled.answer is Consent.UNCLEAR:
            await self.utter(GIVEN_UP)
        await self._act([settled.call])

    async def _ask(self, confirmation: Confirmation) -> None:
        self.asks = confirmation
        await self.utter(confirmation.question.text)

    async def _change_stage(self, change: StageChange | None, aloud: bool = True) -> None:
        for problem in self._conversation.director.take_problems():
            self._reporter.report(problem, self._context.turn_id)
        if change is None:
            return
        self.asks = None
        self.draft = None  # it answers in the stage before
        self._reporter.emit(StageChangeMessage(change.from_stage, change.to_stage, change.reason))
        self._conversation.leave_stage(change.clear_history)
        if change.clear_history and not self._judged:
            self._conversation.history.add_user(self._words)  # what is answered now is not the past
        if change.say and aloud:
            await self.utter(change.say)

    async def _take_back(self, no: Rejection) -> None:
        """A hook rejected the reply: what was not heard yet is never said, and history keeps none of it."""
        log.info("a reply was rejected: %s", no.reason)
        self.reply = ""
        self._start_over()
        self._speaker.drop_unheard()
        if no.say:
            await self.utter(no.say)

    async def _break_silence(self) -> None:
        """The LLM had nothing to say, or no word of it: the user hears so, and history keeps none of it.

        A reply such as "..." in the history has small models write it again, turn after turn.
        """
        log.info("a reply had no words: %d characters are dropped", len(self.reply))
        self.reply = ""
        self._start_over()
        done = self._results and all(result.success for result in self._results)
        await self.utter(DONE if done else NO_WORDS)

    def _may_call(self) -> bool:
        begun = self._asked if self._asked is not None else now()
        # What had to be called has been.
        free = not self._calls or self._conversation.director.brief().tool_choice == CHOOSE_FREELY
        return free and len(self._calls) < MAX_CALLS and now() - begun < MAX_TOOL_SECONDS

    def _exchange(self) -> Exchange:
        return Exchange(
            self._context.turn_id,
            self._words,
            tuple(self._calls),
            tuple(self._results),
            self.reply,
            tuple(self._conversation.history.messages),
            user_speaks=self._cut or self._speaker.held,
        )
