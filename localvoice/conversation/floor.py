"""Who has the floor: a pure machine, `step(floor, event) -> (floor, effects)`.

The user and the agent take turns. Speech over the agent's turn doesn't end it at once: a cough, a door and
"mm-hm" set off the VAD as "stop" does, and what it was is known only a little later. So the turn is held in
silence, and nothing of it is lost. It is cut short when the user's words ask for the floor, or when they
speak for long; otherwise the agent goes on where it was.

The session posts events and carries out effects, in their order. Nothing here waits, calls or knows a clock.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from localvoice.audio.endpointing import WINDOW_MS
from localvoice.conversation import moves
from localvoice.conversation.moves import FloorTransition, State


@dataclass(frozen=True)
class Undecided:
    """An utterance that has ended over a held turn."""

    opening: moves.Opening  # what the user's turn would begin with
    wants_floor: bool | None = None  # whether its words ask for the floor; None while they are not known


@dataclass(frozen=True)
class Floor:
    """The whole state of the machine."""

    state: State = State.IDLE
    turn: moves.Opening | None = None  # the agent's turn, as long as something of it is left to interrupt
    answering: bool = False  # whether it has begun its reply: the user's words are noted, it can be cancelled
    user_speaks: bool = False  # whether the user's utterance goes on, its pauses included
    dismissed: bool = False  # whether that utterance was found not to ask for the floor
    undecided: tuple[Undecided, ...] = ()  # utterances that wait for their words, oldest first
    held_from: State = State.THINKING  # what the state was when the turn was held
    held_after_ms: float = 0.0  # how long the user had been speaking by then
    voiced_before_ms: float = 0.0  # how much of the utterance was voice by then
    moving: bool = False  # whether the session is between two conversations: openings wait for the next one
    postponed: tuple[moves.Opening, ...] = ()  # those that wait, oldest first
    can_hold: bool = True  # whether the client's sound can be held; otherwise speech over it cuts the turn
    interrupt_ms: float = 1000.0  # so much voice over a held turn asks for the floor, whatever its words

    @property
    def user_has_floor(self) -> bool:
        """Whether what the user says now counts, as far as is known."""
        return self.state is not State.HELD and not self.dismissed

    @property
    def silent(self) -> bool:
        """Whether no one speaks, nor is about to."""
        return self.turn is None and not self.user_speaks and not self.undecided and not self.moving


Step = tuple[Floor, tuple[moves.Effect, ...]]


def step(floor: Floor, event: moves.Event) -> Step:  # noqa: C901 - a table, a line for each event
    """The floor after an event, and what is to be done, in order."""
    match event:
        case moves.SpeechStarted(since_ms):
            return _listen(replace(floor, user_speaks=True), moves.SPEECH_STARTED, since_ms)
        case moves.SpeechResumed(voiced_ms, since_ms):
            return _listen(floor, "speech resumed", since_ms, voiced_ms)
        case moves.SpeechLasts(voiced_ms):
            lasts = floor.user_speaks and voiced_ms - floor.voiced_before_ms >= floor.interrupt_ms
            return _cut_short(floor) if lasts else (floor, ())
        case moves.PauseUnderstood(wants_floor):
            if floor.state is not State.HELD:
                return floor, ()
            return _cut_short(floor) if wants_floor else _go_on(replace(floor, dismissed=True))
        case moves.SpeechEnded(opening):
            return _finish(replace(floor, user_speaks=False), opening)
        case moves.Understood(opening, wants_floor):
            return _decide(_with_words(floor, opening, wants_floor))
        case moves.Requested(opening, name):
            return _begin(floor, opening, name)
        case moves.ReplyStarted(opening):
            return replace(floor, answering=floor.answering or floor.turn is opening), ()
        case moves.SoundStarted(opening):
            sounds = floor.turn is opening and floor.state is State.THINKING
            return _enter(floor, State.SPEAKING, "first sound") if sounds else (floor, ())
        case moves.TurnSpent(opening):
            return _spend(floor) if floor.turn is opening else (floor, ())
        case moves.TurnEnded(opening):
            spent = _spend(floor) if floor.turn is opening else (floor, ())
            return _then(spent, _rest, "turn ended")
        case moves.Left():
            return _leave(floor)
        case moves.Entered():
            return _arrive(floor)


def _listen(floor: Floor, event: str, since_ms: float, voiced_ms: float = 0.0) -> Step:
    """The user speaks: what the agent says, or is about to, is held."""
    floor = replace(floor, dismissed=False)
    if floor.turn is None:
        return _enter(floor, State.LISTENING, event)
    if floor.state is State.HELD:
        return _enter(floor, State.HELD, event)
    if not floor.can_hold:
        return _then(_cut(floor, since_ms), _enter, State.LISTENING, event)
    held = replace(floor, held_from=floor.state, held_after_ms=since_ms, voiced_before_ms=voiced_ms)
    return _then((held, (moves.Hold(),)), _enter, State.HELD, event)


def _finish(floor: Floor, opening: moves.Opening) -> Step:
    """The user's utterance is answered, forgotten, or decided about when its words are known."""
    if floor.dismissed:
        return _then((replace(floor, dismissed=False), (moves.Dismiss(opening),)), _rest, "no interruption")
    if floor.state is State.HELD or floor.undecided:  # what they said before it comes first
        return replace(floor, undecided=(*floor.undecided, Undecided(opening))), (moves.Await(opening),)
    return _begin(floor, opening)


def _decide(floor: Floor) -> Step:
    """Decide about the oldest utterances, as far as their words are known."""
    if not floor.undecided or floor.undecided[0].wants_floor is None:
        return floor, ()
    first, floor = floor.undecided[0], replace(floor, undecided=floor.undecided[1:])
    more = floor.user_speaks or bool(floor.undecided)
    if first.wants_floor or floor.turn is None:
        decided = _then(_cut_short(floor), _begin, first.opening)
        if more:  # the next turn waits in silence, too, to hear what else they want
            decided = _then(decided, _listen, "speech goes on", WINDOW_MS)
    else:
        decided = floor, (moves.Dismiss(first.opening),)
        if not more:
            decided = _then(decided, _go_on)
    return _then(decided, _decide)


def _cut_short(floor: Floor) -> Step:
    """The user interrupts the turn that is held, if there is one."""
    if floor.state is not State.HELD:
        return floor, ()
    return _then(_cut(floor, floor.held_after_ms), _enter, State.LISTENING, "interrupted")


def _go_on(floor: Floor) -> Step:
    """The agent goes on where it was, unless there is nothing to go on with."""
    if floor.state is not State.HELD:
        return _rest(floor, "no interruption")
    floor, effects = _enter(floor, floor.held_from, "no interruption")
    return floor, (*effects, moves.Release())


def _begin(floor: Floor, opening: moves.Opening, event: str = moves.TURN_STARTED) -> Step:
    """A turn begins, in place of the one before."""
    if floor.moving:
        return replace(floor, postponed=(*floor.postponed, opening)), ()
    floor, effects = _then(_cut(floor), _enter, State.THINKING, event)
    return replace(floor, turn=opening), (*effects, moves.Begin(opening))


def _cut(floor: Floor, after_ms: float | None = None) -> Step:
    if floor.turn is None:
        return floor, ()
    cut = moves.Cut(floor.turn, floor.answering, after_ms)
    return replace(floor, turn=None, answering=False), (cut,)


def _spend(floor: Floor) -> Step:
    """The turn can't be interrupted any more."""
    held = floor.state is State.HELD
    floor = replace(floor, turn=None, answering=False)
    return _then((floor, (moves.Release(),)), _enter, State.LISTENING, "turn over") if held else (floor, ())


def _rest(floor: Floor, event: str) -> Step:
    """Return to IDLE, unless speech or a turn has started in the meantime."""
    return _enter(floor, State.IDLE, event) if floor.silent else (floor, ())


def _leave(floor: Floor) -> Step:
    """End all turns. What the user has said still gets its turn, which notes it."""
    left: Step = replace(floor, dismissed=False, undecided=()), ()
    for each in floor.undecided:
        left = _then(left, _begin, each.opening)
    cut = _then(left, _cut)
    if cut[0].state is State.HELD:
        cut = _then(cut, _enter, State.LISTENING, "left")
    return replace(cut[0], moving=True), cut[1]


def _arrive(floor: Floor) -> Step:
    """Begin what was asked for meanwhile."""
    postponed, floor = floor.postponed, replace(floor, moving=False, postponed=())
    arrived = _rest(floor, "resumed")
    for opening in postponed:
        arrived = _then(arrived, _begin, opening)
    return arrived


def _with_words(floor: Floor, opening: moves.Opening, wants_floor: bool) -> Floor:
    known = (
        replace(each, wants_floor=wants_floor) if each.opening is opening else each
        for each in floor.undecided
    )
    return replace(floor, undecided=tuple(known))


def _enter(floor: Floor, state: State, event: str) -> Step:
    # Said again where another turn takes the place of one that thinks, or the client would not know whose
    # words come next; and each time that the user begins to speak.
    again = state is State.THINKING or event == moves.SPEECH_STARTED
    if state is floor.state and not again:
        return floor, ()
    return replace(floor, state=state), (FloorTransition(floor.state, event, state),)


def _then(before: Step, follow: Callable[..., Step], *arguments: object) -> Step:
    """One step after another: the second sees the floor that the first one left."""
    floor, effects = before
    floor, more = follow(floor, *arguments)
    return floor, (*effects, *more)
