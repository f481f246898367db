"""Leads a conversation through the stages of a playbook."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from typing import Any

from localvoice.application.hooks import Hooks, PlaybookContext, notify
from localvoice.config import AgentSettings
from localvoice.contract.errors import VoiceError
from localvoice.contract.metrics import Metric, Metrics
from localvoice.conversation.agent import Brief, Exchange, StageChange, sampling_of
from localvoice.engines.types import Llm
from localvoice.observability.stopwatch import Stopwatch, Timing, now
from localvoice.playbook import conditions
from localvoice.playbook.asking import Handlers, classify, transition_tool
from localvoice.playbook.conditions import Evidence, Handler, Intent, JudgingContext, Verdict, judge
from localvoice.playbook.schema import Playbook, Stage, Transition
from localvoice.playbook.state import StageContext, Standing, restored
from localvoice.tools import ToolRegistry

log = logging.getLogger(__name__)


class PlaybookDirector:
    """A `Director` for one conversation; the playbook has been checked, with the same tools and handlers."""

    def __init__(
        self,
        playbook: Playbook,
        registry: ToolRegistry,
        agent_settings: AgentSettings,
        llm: Llm,
        hooks: Hooks,
        metrics: Metrics,
        handlers: Mapping[str, Callable[..., Any]],
        session_id: str,
    ) -> None:
        self._playbook = playbook
        self._stages = {stage.id: stage for stage in playbook.stages}
        self._registry = registry
        self._own_tool = cache(partial(transition_tool, playbook))
        self._settings = agent_settings
        self._llm = llm
        self._session_id = session_id
        self._hooks = hooks
        self._metrics = metrics
        self._handlers = Handlers(handlers)
        self._standing = Standing(playbook, self._stages[playbook.initial_stage])
        self._spent = ("", 0)
        """A turn whose words have led to a transition, and how many of its calls: they lead to no other."""
        self._intent: Intent | None = None
        self._intent_asked = ("", "")
        self._telling: asyncio.Task[None] | None = None
        self._untold: StageChange | None = None

    @property
    def data(self) -> dict[str, Any]:
        return self._standing.data

    def brief(self) -> Brief:
        """The global prompt and tools, and then the stage's."""
        playbook, stage = self._playbook, self._standing.stage
        first = playbook.global_system_prompt
        prompts = [self._settings.system_prompt if first is None else first, stage.system_prompt]
        names = dict.fromkeys((*playbook.global_tools, *stage.tools))
        own = self._own_tool(stage.id)
        configs = (playbook.default_llm_config, stage.llm_config)
        general, own_choice = (each.model_dump(exclude_none=True) for each in configs)
        return Brief(
            self._standing.filled("\n\n".join(part.strip() for part in prompts if part.strip())),
            (*self._registry.filter(names), *([own] if own else [])),
            stage.tool_choice,
            replace(sampling_of(self._settings), **general | own_choice),
        )

    async def begin(self) -> None:
        await self._finish_telling()
        standing = self._standing
        if standing.entered is None:
            standing.entered = now()
            self._telling = asyncio.create_task(self._enter(None, {}), name="stage handlers")
            await self._finish_telling()
        standing.turns += 1
        standing.turns_in_stage += 1
        self._metrics.increment(Metric.STAGE_TURNS, 1, self._tags(self._standing.stage))

    async def after_calls(self, exchange: Exchange) -> StageChange | None:
        """What the user said or the LLM has called may lead to the stage that gives the answer.

        May come more than once in a turn: before the LLM is asked, and after each of its calls.
        """
        if (change := await self._untold_change()) or not self._standing.stage.two_phase_execution:
            return change
        return await self._judge(exchange, answered=False)

    async def after_reply(self, exchange: Exchange) -> StageChange | None:
        """The answer, the stage's turns or its time may lead on; in one phase, all the rest may, too."""
        await self._finish_telling()
        told = (self._context(), exchange.reply, len(exchange.calls))
        await notify(self._hooks.on_playbook_turn_end, *told)
        return await self._untold_change() or await self._judge(exchange, answered=True)

    def foreseeable(self) -> bool:
        """Not where the LLM is asked for the user's intent first: it would have to wait for a draft."""
        return not any(isinstance(each.condition, conditions.IntentCondition) for each in self._ways())

    def seconds_left(self) -> float | None:
        """Until the first transition on `timeout`; 0 also when a change is still to be told."""
        if self._untold:
            return 0.0
        standing = self._standing
        limits = [limit for _, limit in self._timeouts()]
        if standing.entered is None or not limits:
            return None
        return max(0.0, min(limits) - standing.seconds_in_stage)

    async def on_timeout(self) -> StageChange | None:
        if change := await self._untold_change():
            return change
        for transition, limit in self._timeouts():
            if conditions.is_over(limit, self._standing.seconds_in_stage):
                return await self._move(transition, Verdict("timeout", {}))
        return None

    def take_problems(self) -> Sequence[VoiceError]:
        """PLAYBOOK_ERROR for each handler that failed and each intent that the LLM didn't tell."""
        return self._handlers.take_problems()

    def forget(self) -> None:
        """Empty the data, which may be the user's words; the stage and its turns stay."""
        self._standing.data.clear()
        self._intent, self._intent_asked = None, ("", "")

    def save(self) -> Mapping[str, Any]:
        return self._standing.saved()

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on where `save` was; no stage is entered for it."""
        if (standing := restored(self._playbook, saved)) is not None:
            self._standing = standing
            self._metrics.gauge(Metric.STAGE_CURRENT, 1, self._tags(standing.stage))

    async def _judge(self, exchange: Exchange, answered: bool) -> StageChange | None:
        standing, stage = self._standing, self._standing.stage
        turn_id, spent_calls = self._spent
        spent = exchange.turn_id == turn_id
        succeeded = {result.call_id for result in exchange.results if result.success}
        unspent = exchange.calls[spent_calls if spent else 0 :]
        evidence = Evidence(
            words="" if spent else exchange.words,
            calls=tuple(call for call in unspent if call.call_id in succeeded),
            reply=exchange.reply,
            answered=answered,
            turns_in_stage=standing.turns_in_stage,
            seconds_in_stage=standing.seconds_in_stage,
            max_turns=stage.max_turns,
            timeout_ms=stage.timeout_ms,
            user_speaks=exchange.user_speaks,
        )
        ask_intent, ask_handler = partial(self._ask_intent, exchange), partial(self._ask_handler, exchange)
        for way in self._ways():
            target = way.action.target_stage
            if verdict := await judge(way.condition, target, evidence, ask_intent, ask_handler):
                self._spent = (exchange.turn_id, len(exchange.calls))
                return await self._move(way, verdict)
        return None

    async def _ask_intent(self, exchange: Exchange) -> Intent | None:
        """Once a turn in each stage, however often it is judged."""
        asked = (exchange.turn_id, self._standing.stage.id)
        if self._intent_asked != asked:
            ways = [each.condition for each in self._ways()]
            wanted = [each for each in ways if isinstance(each, conditions.IntentCondition)]
            question = classify(self._llm, wanted, exchange)
            self._intent = await self._handlers.attempt(question, "question for the user's intent")
            self._intent_asked = asked
        return self._intent

    async def _ask_handler(self, exchange: Exchange, handler: Handler) -> bool:
        standing = self._standing
        context = JudgingContext(self._context(), standing.turns_in_stage, exchange, standing.data)
        name = handler if isinstance(handler, str) else getattr(handler, "__qualname__", "function")
        return bool(await self._handlers.call(handler, f"condition {name}", context))

    async def _move(self, transition: Transition, verdict: Verdict) -> StageChange | None:
        """The stage changes at once. The application is told even if the turn is cancelled meanwhile."""
        standing, action = self._standing, transition.action
        leaving, lasted = self._context(), Stopwatch(self._standing.entered).timing()
        old, new = standing.stage, self._stages[action.target_stage]
        # What the LLM gives along may be a stranger's words: it doesn't replace what the playbook says.
        given = deepcopy({**verdict.data, **action.data})  # handlers may change it
        standing.data.update(given)
        standing.enter(new)
        message = action.transition_message
        self._untold = StageChange(old.id, new.id, verdict.reason, message, action.clear_history)
        log.info("playbook %s: %s leads from %s to %s", self._playbook.id, transition.id, old.id, new.id)
        told = self._leave(transition, leaving, lasted, StageContext(leaving, old, new, given, self.data))
        self._telling = asyncio.create_task(told, name="stage handlers")
        return await self._untold_change()

    async def _untold_change(self) -> StageChange | None:
        """The change of stage that is still to be told: the turn that made it may have been cancelled."""
        if self._untold is not None:
            await self._finish_telling()
        change, self._untold = self._untold, None
        if change is None:  # also where another waited for the handlers, too, and has told it
            return None
        return replace(change, say=self._standing.filled(change.say) if change.say else None)

    async def _finish_telling(self) -> None:
        while (telling := self._telling) is not None:
            await asyncio.wait([telling])
            if self._telling is telling:  # else another waited, too, and has changed the stage again
                self._telling = None
            if not telling.cancelled():  # by a handler, which is its own failure
                telling.result()

    async def _leave(
        self, transition: Transition, leaving: PlaybookContext, lasted: Timing, context: StageContext
    ) -> None:
        """Tell the application that a stage ends, and that the next begins."""
        hooks, metrics, old, new = self._hooks, self._metrics, context.stage, self._standing.stage
        metrics.timing(Metric.STAGE_DURATION, lasted.duration_ms, self._tags(old))
        metrics.gauge(Metric.STAGE_CURRENT, 0, self._tags(old))
        ways = {"playbook": self._playbook.id, "from": old.id, "to": new.id}
        metrics.increment(Metric.TRANSITIONS, 1, ways)
        await self._handlers.call(old.on_exit, f"on_exit of {old.id}", context)
        await notify(hooks.on_stage_exit, leaving, old.id, new.id, lasted)
        await notify(hooks.on_transition, leaving, transition.id, old.id, new.id)
        await self._enter(old, context.transition_data)
        if self._playbook.is_final(new.id) and new is not old:
            metrics.increment(Metric.COMPLETIONS, 1, self._tags(new))
            await notify(hooks.on_playbook_complete, self._context(), new.id, self._standing.turns)

    async def _enter(self, previous: Stage | None, given: Mapping[str, Any]) -> None:
        stage, context = self._standing.stage, self._context()
        self._metrics.gauge(Metric.STAGE_CURRENT, 1, self._tags(stage))
        await notify(self._hooks.on_stage_enter, context, stage.id, previous.id if previous else None)
        entered = StageContext(context, stage, previous, given, self.data)
        await self._handlers.call(stage.on_enter, f"on_enter of {stage.id}", entered)

    def _ways(self) -> list[Transition]:
        return self._playbook.transitions_from(self._standing.stage.id)

    def _timeouts(self) -> list[tuple[Transition, float]]:
        """The ways out by time, with their seconds."""
        stage = self._standing.stage
        return [
            (each, limit)
            for each in self._ways()
            if isinstance(each.condition, conditions.TimeoutCondition)
            and (limit := conditions.time_limit(each.condition, stage.timeout_ms)) is not None
        ]

    def _context(self) -> PlaybookContext:
        standing, session_id = self._standing, self._session_id
        milliseconds = 1000 * standing.seconds_in_stage
        return PlaybookContext(self._playbook.id, standing.stage.id, session_id, standing.turns, milliseconds)

    def _tags(self, stage: Stage) -> dict[str, str]:
        return {"playbook": self._playbook.id, "stage": stage.id}
