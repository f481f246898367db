"""Where a conversation stands in its playbook, and what of that survives a restart."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from localvoice.application.calls import result_of
from localvoice.conversation.agent import Exchange
from localvoice.observability.log_context import failure
from localvoice.playbook.schema import Playbook, Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spent:
    """What of a turn has led to a transition: it doesn't lead to another one from the next stage."""

    turn_id: str = ""
    calls: int = 0

    def has_words_of(self, exchange: Exchange) -> bool:
        """Whether what the user said in this turn has led to one."""
        return exchange.turn_id == self.turn_id

    def calls_of(self, exchange: Exchange) -> int:
        """How many of the turn's calls have led to one."""
        return self.calls if exchange.turn_id == self.turn_id else 0


@dataclass
class Standing:
    """Where a conversation stands."""

    stage: Stage
    """The stage that it is in."""
    entered: float | None = None
    """When that began, on the event loop's clock; None before the first turn."""
    turns: int = 0
    """Turns in all."""
    turns_in_stage: int = 0
    """Turns since the stage began."""
    data: dict[str, Any] = field(default_factory=dict)
    """What transitions and handlers have put there."""

    def seconds_in_stage(self, now: float) -> float:
        """Since it was entered; 0 before."""
        return 0.0 if self.entered is None else now - self.entered

    def filled(self, text: str) -> str:
        """The text with each `{word}` that is in the data replaced by its value."""
        return re.sub(r"\{(\w+)\}", self._value, text, flags=re.ASCII)

    def _value(self, word: re.Match[str]) -> str:
        value = self.data.get(word[1], word[0])
        try:
            return result_of(lambda: str(value))
        except Exception as error:  # the application's own; the conversation goes on
            log.warning("an entry of a playbook's data, a %s, has no words: %s", type(value), failure(error))
            return word[0]


class _Saved(BaseModel):
    playbook: str
    stage: str
    turns: NonNegativeInt
    turns_in_stage: NonNegativeInt
    seconds_in_stage: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    data: dict[str, Any]


def saved(playbook: Playbook, standing: Standing, now: float) -> dict[str, Any]:
    """As JSON types; empty before the first turn. Data that JSON has no type for is logged and left out."""
    if standing.entered is None:
        return {}
    data = {name: value for name, value in standing.data.items() if _is_json(name, value)}
    state = _Saved(
        playbook=playbook.id,
        stage=standing.stage.id,
        turns=standing.turns,
        turns_in_stage=standing.turns_in_stage,
        seconds_in_stage=standing.seconds_in_stage(now),
        data=data,
    )
    return state.model_dump()


def restored(playbook: Playbook, saved: Mapping[str, Any], now: float) -> Standing | None:
    """What `saved` gave; None, and a line in the log, where the playbook has changed too much for it."""
    if not saved:
        return None
    try:
        state = _Saved.model_validate(saved)
    except ValidationError as error:
        wrong = "; ".join(f"{each['loc']}: {each['msg']}" for each in error.errors(include_input=False))
        log.warning("playbook %s: what was saved can't be read, so it begins anew: %s", playbook.id, wrong)
        return None
    stage = playbook.stage(state.stage)
    if stage is None or state.playbook != playbook.id:
        place = f"stage {state.stage} of playbook {state.playbook}"
        log.warning("playbook %s: there is no %s any more, so it begins anew", playbook.id, place)
        return None
    return Standing(stage, now - state.seconds_in_stage, state.turns, state.turns_in_stage, state.data)


def _is_json(name: object, value: object) -> bool:
    try:
        json.dumps({name: value}, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        log.warning("an entry of a playbook's data can't be saved: %r is %s (%s)", name, type(value), error)
        return False
    return True
