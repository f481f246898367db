"""A floor with a user, turns and a playout around it, and what must hold whatever they do.

The invariants stand in `check_step` and `check_end`. `choices` are the events that can happen next, so that a
random walk through them is a conversation that could take place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from localvoice.conversation.floor import Floor, step
from localvoice.conversation.moves import (
    Await,
    Begin,
    Cut,
    Dismiss,
    Effect,
    Entered,
    Event,
    FloorTransition,
    Hold,
    Left,
    PauseUnderstood,
    Release,
    ReplyStarted,
    Requested,
    SoundStarted,
    SpeechEnded,
    SpeechLasts,
    SpeechResumed,
    SpeechStarted,
    State,
    TurnEnded,
    TurnSpent,
    Understood,
)

LONG_MS = 5000.0
"""More voice than any utterance of less may have that doesn't interrupt."""


@dataclass
class RunningTurn:
    """What the world knows of a turn that has begun."""

    answering: bool = False
    sounds: bool = False
    cut: bool = False
    spent: bool = False
    ended: bool = False


@dataclass
class FloorRoom:
    """Openings are numbers, in the order in which they come up."""

    floor: Floor = field(default_factory=Floor)
    turns: dict[int, RunningTurn] = field(default_factory=dict)
    """Those that have begun, in their order."""
    awaited: set[int] = field(default_factory=set)
    """Utterances whose words decide."""
    dismissed: set[int] = field(default_factory=set)
    uttered: list[int] = field(default_factory=list)
    """All that the user has said, in its order."""
    count: int = 0
    held: bool = False
    """Whether the playout is."""
    transitions: list[FloorTransition] = field(default_factory=list)

    def choices(self) -> Iterator[Event]:
        """What can happen next."""
        if self.floor.user_speaks:
            yield SpeechResumed(500.0, 32.0)
            yield SpeechLasts(0.0)
            yield SpeechLasts(LONG_MS)
            yield PauseUnderstood(wants_floor=True)
            yield PauseUnderstood(wants_floor=False)
            yield SpeechEnded(self.count)
        else:
            yield SpeechStarted(64.0)
        for opening in sorted(self.awaited):
            yield Understood(opening, wants_floor=True)
            yield Understood(opening, wants_floor=False)
        yield Requested(self.count)
        if self.floor.state is State.IDLE:
            yield Requested(self.count, "announcement due")
        yield from self._of_turns()
        yield Entered() if self.floor.moving else Left()

    def _of_turns(self) -> Iterator[Event]:
        """A turn runs when the one before has ended, and its reply waits while it is held."""
        opening = next((each for each, turn in self.turns.items() if not turn.ended), None)
        if opening is None:
            return
        turn = self.turns[opening]
        if not turn.answering and not turn.cut and not self.held:
            yield ReplyStarted(opening)
        if turn.answering and not turn.sounds and not turn.cut and not turn.spent and not self.held:
            yield SoundStarted(opening)
        if not turn.spent:  # heard to its end, without an answer, or failed
            yield TurnSpent(opening)
        yield TurnEnded(opening)

    def post(self, event: Event) -> list[Effect]:
        """Tell the floor, do what it wants, and check that it may want that."""
        match event:
            case SpeechEnded(opening) | Requested(opening):
                self.count += 1
                if isinstance(event, SpeechEnded):
                    self.uttered.append(opening)
            case Understood(opening):
                self.awaited.discard(opening)
            case ReplyStarted(opening):
                self.turns[opening].answering = True
            case SoundStarted(opening):
                self.turns[opening].sounds = True
            case TurnSpent(opening):
                self.turns[opening].spent = True
            case TurnEnded(opening):
                self.turns[opening].spent = self.turns[opening].ended = True
        before, (self.floor, effects) = self.floor, step(self.floor, event)
        for effect in effects:
            self._do(effect)
        self.check_step(before, event, list(effects))
        return list(effects)

    def _do(self, effect: Effect) -> None:
        match effect:
            case FloorTransition():
                self.transitions.append(effect)
            case Hold():
                assert not self.held, "held twice"
                self.held = True
            case Release():
                assert self.held, "released what isn't held"
                self.held = False
            case Cut(opening, answering):
                turn = self.turns[opening]
                assert not turn.cut and not turn.spent, "cut what is over"
                assert answering is turn.answering
                turn.cut, self.held = True, False
            case Begin(opening):
                assert opening not in self.turns, "began twice"
                assert not self.held, "begins in another turn's silence"
                assert all(turn.cut or turn.spent for turn in self.turns.values()), "two turns at once"
                self.turns[opening] = RunningTurn()
            case Await(opening):
                self.awaited.add(opening)
            case Dismiss(opening):
                self.dismissed.add(opening)

    def check_step(self, before: Floor, event: Event, effects: list[Effect]) -> None:
        """What must hold after each event."""
        floor = self.floor
        current = None if floor.turn is None else self.turns[floor.turn]
        assert current is None or not (current.cut or current.spent or current.ended)
        assert (floor.state is State.HELD) is self.held, "held is held"
        assert floor.turn is not None or floor.state is not State.HELD
        if floor.turn is not None:
            assert floor.state in (State.THINKING, State.SPEAKING, State.HELD), "a turn has no floor"
        if isinstance(event, SpeechStarted | SpeechResumed):
            assert floor.turn is None or self.held, "the agent isn't silent at the user's onset"
        spoken = [
            each for each in effects if isinstance(each, FloorTransition) and each.target is State.SPEAKING
        ]
        if spoken:
            assert current is not None and current.sounds and not self.held, "speaks without a sound to come"
        if floor.state is State.IDLE:  # the only state in which a playbook's stage may run out
            assert floor.turn is None and not floor.user_speaks and not floor.undecided
        if floor.state is State.IDLE and before.state is not State.IDLE:
            assert all(turn.cut or turn.spent for turn in self.turns.values()), "idle in the middle of a turn"

    def settle(self) -> None:
        """Let all that has begun come to its end."""
        if self.floor.moving:
            self.post(Entered())
        if self.floor.user_speaks:
            self.post(SpeechEnded(self.count))
        for _ in range(20 + 4 * self.count):
            if self.awaited:
                self.post(Understood(min(self.awaited), wants_floor=True))
            elif (running := list(self._of_turns())) and not self.held:
                self.post(running[-1])

    def check_end(self) -> None:
        """What must hold when nothing is left to happen."""
        assert self.floor.state is State.IDLE and self.floor.silent
        assert all(turn.ended for turn in self.turns.values()), "a turn that started never ended"
        spoken = [opening for opening in self.turns if opening in self.uttered]
        assert spoken == [each for each in self.uttered if each in self.turns], "out of order"
        assert {*self.turns, *self.dismissed} == set(range(self.count)), "what was said or asked for is lost"
        assert not self.turns.keys() & self.dismissed
        for turn in self.turns.values():
            assert not turn.sounds or turn.cut or turn.spent, "a sound that started was never closed"
