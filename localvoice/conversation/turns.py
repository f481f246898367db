"""The turns of one session, one after the other: begun, cut short, and reported."""

import asyncio
from collections.abc import Callable

from localvoice.audio.playout import Playout
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.metrics import Metric
from localvoice.conversation import moves
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.housekeeping import Housekeeping
from localvoice.conversation.moves import Spoken, TurnOpening
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.speculation import Speculation
from localvoice.conversation.turn import Turn
from localvoice.observability.log_context import log_context


class Turns:
    """Runs turns."""

    def __init__(
        self,
        agent: Agent,
        playout: Playout,
        reporter: Reporter,
        speculation: Speculation,
        post: Callable[[moves.Event], None],
    ) -> None:
        """`post` tells the floor."""
        self._agent = agent
        self._playout = playout
        self._reporter = reporter
        self._speculation = speculation
        self._post = post
        self._turn: Turn | None = None
        self.task: asyncio.Task[None] | None = None
        """The latest turn's; it ends after all that came before it."""

    def begin(self, opening: TurnOpening, conversation: Conversation, housekeeping: Housekeeping) -> None:
        """Begin a turn. It waits until the one before has put its history in order."""
        draft = self._speculation.take(opening.transcription) if isinstance(opening, Spoken) else None
        self._speculation.drop()
        self._turn = Turn(
            opening,
            self._agent,
            conversation,
            self._playout,
            self._reporter,
            self._post,
            housekeeping.forget,
            draft,
        )
        self.task = asyncio.create_task(self._run(self._turn, housekeeping, self.task), name="turn")

    def cut(self, cut: moves.Cut) -> None:
        """Cut the latest turn short."""
        if self._turn is None or self.task is None:
            return
        if not cut.answering:
            self._playout.resume()  # for its question is noted, though not answered
        self._playout.stop()
        self._turn.cut()
        if cut.answering:
            self.task.cancel()
            if cut.after_ms is not None:
                self._agent.metrics.timing(Metric.BARGE_IN_STOP, cut.after_ms)

    async def _run(self, turn: Turn, housekeeping: Housekeeping, previous: asyncio.Task[None] | None) -> None:
        llm = self._agent.engines.llm
        model, turn_id = llm.name, turn.context.turn_id
        with log_context(session_id=turn.context.session_id, model=model):
            try:
                if previous is not None:
                    await asyncio.wait([previous])
                await turn.run()
            except Exception as error:
                self._reporter.report_any(error, turn_id)
            finally:
                self._speculation.drop_draft(turn.draft)
                housekeeping.begin()  # also while the user, who interrupted it, still speaks
            if llm.name != model:
                words = f"The language model {model} failed. From now on {llm.name} answers."
                self._reporter.report(VoiceError(ErrorCode.LLM_ERROR, Component.LLM, words), turn_id)
            self._post(moves.TurnEnded(turn.opening))
