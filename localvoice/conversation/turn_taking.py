"""When it is the agent's turn: how long the pause that the user makes now has to be to end theirs."""

import asyncio
import logging
from collections.abc import Callable

from localvoice.audio.end_of_turn import Hint, judge_words, silence_ms
from localvoice.audio.frames import AudioFrame
from localvoice.config import ListeningSettings
from localvoice.contract.errors import VoiceError
from localvoice.conversation.dropping import Dropped
from localvoice.engines.types import Transcript, TurnDetector

log = logging.getLogger(__name__)


class TurnTaking:
    """Judges the pauses of one session when the detector has answered, and again when the words are there.

    Without a detector, until its answer is there and when it fails, the silence of the settings decides.
    """

    def __init__(
        self,
        detector: TurnDetector | None,
        end_after: Callable[[int], None],
        settings: ListeningSettings,
        report: Callable[[VoiceError], None],
    ) -> None:
        """`end_after` is told how many milliseconds of silence end the turn, if the pause lasts so long."""
        self._detector = detector
        self._end_after = end_after
        self._settings = settings
        self._report = report
        self._failing = False
        self._judging: asyncio.Task[None] | None = None
        self._dropped = Dropped()
        self._probability: float | None = None
        self._transcript: Transcript | None = None
        self._dictation: Transcript | None = None  # what was dictated of this turn, before its latest pause

    def on_pause(self, speech: AudioFrame) -> None:
        """The user has stopped, for now, after this speech, at 16 kHz."""
        self.drop()
        if self._detector is not None:
            self._judging = asyncio.create_task(self._judge(self._detector, speech), name="turn detection")

    def on_transcript(self, transcript: Transcript) -> None:
        """This is what was said until the present pause."""
        self._transcript = transcript
        dictated = judge_words(transcript.text, transcript.language) is Hint.DICTATED
        self._dictation = transcript if dictated else None
        self._decide()

    def drop(self) -> None:
        """The pause is over: the user went on."""
        self._dropped.add(self._judging)
        self._judging = self._probability = self._transcript = None

    def end(self) -> None:
        """The turn has ended."""
        self.drop()
        self._dictation = None

    async def close(self) -> None:
        """Drop it, and wait until the detector has been left."""
        self.drop()
        await self._dropped.ended()

    async def _judge(self, detector: TurnDetector, speech: AudioFrame) -> None:
        try:
            self._probability = await detector.complete(speech)
        except VoiceError as error:
            if not self._failing:  # a detector that stays broken is told once, not at each pause
                self._report(error)
            self._failing = True
        else:
            self._failing = False
            self._decide()

    def _decide(self) -> None:
        if self._probability is None:
            return
        # The next group of a number may sound like the end before its digits are known.
        said = self._transcript or self._dictation
        text, language = (None, "") if said is None else (said.text, said.language)
        wait = silence_ms(self._probability, text, language, self._settings.eagerness)
        log.debug("complete with a probability of %.2f: a silence of %d ms ends it", self._probability, wait)
        self._end_after(wait)
