"""Where a conversation stands in its playbook, and what of that survives a restart."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from localvoice.application.calls import result_of
from localvoice.application.hooks import PlaybookContext
from localvoice.observability.log_context import failure
from localvoice.observability.stopwatch import now
from localvoice.playbook.schema import Playbook, Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageContext:
    """What a stage's `on_enter` and `on_exit` are given."""

    playbook: PlaybookContext
    """Where the conversation stands: in the stage that was entered, or that is left."""
    stage: Stage
    """The stage that was entered, or that is left."""
    other_stage: Stage | None
    """The one before it, or after it; None at the start of the conversation."""
    transition_data: Mapping[str, Any]
    """The transition's own data; it is part of `data` already."""
    data: dict[str, Any]
    """The playbook's data in this conversation. May be changed."""


class _Saved(BaseModel):
    playbook: str
    stage: str
    turns: NonNegativeInt
    turns_in_stage: NonNegativeInt
    seconds_in_stage: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    data: dict[str, Any]


@dataclass
class Standing:
    """The stage of a conversation, its turns and its data."""

    playbook: Playbook
    stage: Stage
    entered: float | None = None
    """When the stage began, on the event loop's clock; None before the first turn."""
    turns: int = 0
    turns_in_stage: int = 0
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds_in_stage(self) -> float:
        """0 before the first turn."""
        return 0.0 if self.entered is None else now() - self.entered

    def enter(self, stage: Stage) -> None:
        """The stage begins now; it has had no turns yet."""
        self.stage, self.entered, self.turns_in_stage = stage, now(), 0

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

    def saved(self) -> dict[str, Any]:
        """As JSON types; empty before the first turn. Data without a JSON type is logged and left out."""
        if self.entered is None:
            return {}
        return _Saved(
            playbook=self.playbook.id,
            stage=self.stage.id,
            turns=self.turns,
            turns_in_stage=self.turns_in_stage,
            seconds_in_stage=self.seconds_in_stage,
            data={name: value for name, value in self.data.items() if _is_json(name, value)},
        ).model_dump()


def restored(playbook: Playbook, saved: Mapping[str, Any]) -> Standing | None:
    """What `saved` gave; None, and a line in the log, if the playbook has changed too much for it."""
    if not saved:
        return None
    try:
        state = _Saved.model_validate(saved)
    except ValidationError as error:
        wrong = "; ".join(f"{each['loc']}: {each['msg']}" for each in error.errors(include_input=False))
        problem = f"what was saved can't be read: {wrong}"
    else:
        stage = playbook.stage(state.stage)
        if stage is not None and state.playbook == playbook.id:
            entered = now() - state.seconds_in_stage
            return Standing(playbook, stage, entered, state.turns, state.turns_in_stage, state.data)
        problem = f"there is no stage {state.stage} of playbook {state.playbook} any more"
    log.warning("playbook %s: the conversation starts again at the first stage: %s", playbook.id, problem)
    return None


def _is_json(name: object, value: object) -> bool:
    try:
        json.dumps({name: value}, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        log.warning("an entry of a playbook's data can't be saved: %r is %s (%s)", name, type(value), error)
        return False
    return True
