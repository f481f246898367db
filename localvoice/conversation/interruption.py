"""Speech over the agent's turn: silence at once, and then the decision whether it is an interruption.

A cough, a laugh, a door and "mm-hm" set off the VAD as "stop" does; what it was is known only a little later.
So at the onset the turn is held, and nothing of it is lost. It is cut short when words come out of the
speech, or when that lasts; otherwise the agent goes on where it was.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from localvoice.audio.endpointing import WINDOW_MS
from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from localvoice.contract.errors import VoiceError
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.backchannel import is_backchannel
from localvoice.conversation.listening import Ears
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.stages import Heard
from localvoice.conversation.surroundings import AgentState
from localvoice.conversation.turn import Turn
from localvoice.engines.types import Transcript

_QUESTION_WITHIN: Final = 4
"""Words after which a question still waits for its answer, though the agent goes on."""
_QUESTION_AHEAD: Final = 2
"""Words before its end at which a question is understood, and answered."""


@dataclass(frozen=True, eq=False)
class Utterance:
    """What the user has said, as soon as they have finished."""

    transcription: asyncio.Task[Heard]
    """Its words, which may still be under way."""
    speech: AudioFrame
    """The sound, at 16 kHz."""
    ended: float
    """When their voice ended, in the event loop's time."""
    endpoint: float
    """When that was certain."""


@dataclass(frozen=True)
class Conversing:
    """The session, as far as it concerns interruptions."""

    running: Callable[[], Turn | None]
    """The turn of which something is left to interrupt, if there is one."""
    state: Callable[[], AgentState]
    """What the agent is doing."""
    interrupt: Callable[[], bool]
    """Cuts the turn short; whether it was answering."""
    answer: Callable[[Utterance], None]
    """Begins a turn with it."""
    enter: Callable[[AgentState, str], None]
    """Says what the agent is doing now, and which event made it so."""
    rest: Callable[[str], None]
    """Nobody speaks any more, unless a turn goes on; and which event made it so."""


class Interruption:
    """Decides about the user's utterances during one session's turns."""

    def __init__(
        self, session: Conversing, playout: Playout, agent: Agent, ears: Ears, reporter: Reporter
    ) -> None:
        self._session = session
        self._ears = ears
        self._reporter = reporter
        self._playout = playout
        self._settings = agent.settings
        self._metrics = agent.metrics
        self._before: AgentState | None = None
        self._stop_ms = 0.0
        self._voiced_before = 0.0
        self._waiting: deque[Utterance] = deque()
        self._dismissed = False

    def on_speech(self, voiced_ms: float, since_ms: float = WINDOW_MS) -> None:
        """The user begins to speak, or goes on after a pause.

        `voiced_ms`: how much of the utterance was voice before; `since_ms`: how long ago they began.
        """
        self._dismissed = False
        turn = self._session.running()
        if turn is None or self._before is not None:
            return
        if not self._settings.agent.streaming_speech:
            # The client plays by itself what it was given: it can be told to stop, not to wait.
            self._interrupt(since_ms)
        elif turn.hold():
            self._before = self._session.state()
            self._stop_ms = since_ms
            self._voiced_before = voiced_ms

    def on_voice(self, voiced_ms: float) -> None:
        """The user speaks; so much of the utterance was voice. A backchannel doesn't take so long."""
        long = voiced_ms - self._voiced_before >= self._settings.listening.interrupt_ms
        if self._before is not None and long and self._ears.speaking:
            self._cut_short()

    def on_words(self, transcription: asyncio.Task[Heard]) -> bool:
        """What was said before the present pause is known or failed. False if it doesn't interrupt."""
        if self._before is None:
            return not self._dismissed
        if self._is_meant(transcription):
            self._cut_short()
            return True
        self._dismissed = True
        self._go_on()
        return False

    def on_end(self, utterance: Utterance) -> None:
        """The user has finished: their turn is answered, unless they only said "mm-hm"."""
        if self._dismissed:
            self._dismissed = False
            self._report_failure(utterance)
            self._session.rest("no interruption")
        elif self._before is not None or self._waiting:  # what they said before it comes first
            self._waiting.append(utterance)
            utterance.transcription.add_done_callback(lambda _: self._decide())
        else:
            self._session.answer(utterance)

    def forget(self) -> None:
        """The turn was cut short for another reason."""
        self._before = None

    @property
    def undecided(self) -> list[asyncio.Task[Heard]]:
        """The transcriptions that are waited for, to decide about utterances that have ended."""
        return [utterance.transcription for utterance in self._waiting]

    @property
    def holding(self) -> bool:
        """Whether the turn is held, or what was said over it didn't count."""
        return self._before is not None or self._dismissed

    def take_undecided(self) -> list[Utterance]:
        """Utterances that are not decided about, and will not be. What comes is another matter."""
        self._dismissed = False
        undecided = list(self._waiting)
        self._waiting.clear()
        return undecided

    def _decide(self) -> None:
        while self._waiting and self._waiting[0].transcription.done():
            utterance = self._waiting.popleft()
            if self._is_meant(utterance.transcription):
                self._cut_short()
                self._session.answer(utterance)
                if self._ears.speaking or self._waiting:
                    # The next turn waits in silence, too, to hear what else they want.
                    self.on_speech(0.0)
                    self._session.enter(AgentState.LISTENING, "speech goes on")
            else:
                self._report_failure(utterance)
                if not self._ears.speaking and not self._waiting:
                    self._go_on()

    def _is_meant(self, transcription: asyncio.Task[Heard]) -> bool:
        """Whether these are words to interrupt with, or there is nothing left to interrupt."""
        if self._session.running() is None:
            return True
        if transcription.cancelled() or transcription.exception() is not None:
            return False
        return wants_the_floor(transcription.result().transcript, self._playout)

    def _cut_short(self) -> None:
        if self._before is not None:
            self._before = None
            self._interrupt(self._stop_ms)

    def _interrupt(self, stop_ms: float) -> None:
        if self._session.interrupt():
            self._metrics.timing(Metric.BARGE_IN_STOP, stop_ms)

    def _go_on(self) -> None:
        before, self._before = self._before, None
        if before is not None and self._session.running() is not None:
            self._session.enter(before, "no interruption")
            self._playout.resume()
        else:
            self._session.rest("no interruption")

    def _report_failure(self, utterance: Utterance) -> None:
        try:
            utterance.transcription.result()
        except VoiceError as error:
            self._reporter.report(error)
        except Exception as error:
            self._reporter.report_unforeseen(error)


def wants_the_floor(said: Transcript, playout: Playout) -> bool:
    """Whether what was said over this reply is meant to interrupt it."""
    heard, to_come = playout.words()
    near = heard[-_QUESTION_WITHIN:] + to_come[:_QUESTION_AHEAD]
    asked = bool(heard) and any(word.rstrip("\"'”’)*_").endswith(("?", "？")) for word in near)
    return not is_backchannel(said.text, said.language, asked)
