"""What holds of every conversation, whatever its user, its models and its tools do.

Each rule looks at what was seen from outside of the session, and yields a sentence for each breach.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from localvoice import TimeoutCondition
from localvoice.contract.errors import ErrorCode
from localvoice.contract.messages import ErrorMessage, LlmChunk, LlmReply, StateMessage
from tests.support.scenario_world import NUMBERED, STEP, Event, World

Rule = Callable[[World], Iterator[str]]

_MAY_FAIL: Final = {ErrorCode.STT_ERROR, ErrorCode.LLM_ERROR, ErrorCode.TTS_ERROR}


def each_start_of_speech_is_closed_once(world: World) -> Iterator[str]:
    """`tts-start` by `tts-complete` or `tts-cancelled`, `speech-start` by `speech-end`."""
    yield from _paired(world, "tts-start", "tts-complete", "tts-cancelled")
    if world.plan.settles:
        yield from _paired(world, "speech-start", "speech-end")


def the_agent_is_heard_between_start_and_end_alone(world: World) -> Iterator[str]:
    """And says that it speaks in between alone."""
    opened = False
    for event in world.events:
        if event.kind == "tts-start":
            opened = True
        elif event.kind in ("tts-complete", "tts-cancelled"):
            opened = False
        elif not opened and (event.kind == "sound" or _state(event) == "speaking"):
            yield f"{event.kind} outside of tts-start and its end, at {event.time:.2f} s"


def whoever_is_told_speaking_hears_something(world: World) -> Iterator[str]:
    """Sound follows, unless the user begins to speak or the reply is cut short."""
    waiting: Event | None = None
    for event in world.events:
        if event.kind in ("sound", "tts-cancelled", "speech-start") or _state(event) == "listening":
            waiting = None
        elif waiting is not None and (event.kind == "tts-complete" or _state(event)):
            yield f"told at {waiting.time:.2f} s that the agent speaks, and then {event.kind} without a sound"
            waiting = None
        if _state(event) == "speaking":
            waiting = event


def the_agent_is_silent_while_it_listens(world: World) -> Iterator[str]:
    """From the frame after the one in which the user's speech began."""
    listening: float | None = None
    for event in world.events:
        if state := _state(event):
            listening = event.time if state == "listening" else None
        elif event.kind == "sound" and listening is not None and event.time > listening + STEP / 2:
            yield f"sound at {event.time:.2f} s though the agent listens since {listening:.2f} s"


def a_stage_ends_by_time_after_an_answer_and_in_silence(world: World) -> Iterator[str]:
    """Not while the user speaks, nor between the LLM's being asked and its answer, with all of its tools."""
    ways = world.plan.playbook.transitions if world.plan.playbook is not None else ()
    timed = {way.id for way in ways if isinstance(way.condition, TimeoutCondition)}
    speaking = answering = False
    for event in world.events:
        if (
            event.kind == "transition" and event.what in timed
        ):  # the client hears of it when handlers are done
            if speaking:
                yield f"a stage ran out at {event.time:.2f} s while the user spoke"
            if answering:
                yield f"a stage ran out at {event.time:.2f} s in the middle of an answer"
        if event.kind in (
            "speech-end",
            "turn-start",
        ):  # or they type amid their words, and want that answered
            speaking = False
        elif event.kind == "speech-start":
            speaking = True
        if event.kind in ("llm-start", "tool-call-start"):
            answering = True
        elif event.kind in ("llm-end", "turn-end"):
            answering = False


def the_llm_is_asked_the_newest_words(world: World) -> Iterator[str]:
    """The prompt ends with the user's latest message, or with what a tool has answered to it."""
    for event in world.events:
        if event.kind == "asked":
            users = [message.content for message in event.what if message.role == "user"]
            numbers = [int(number) for words in users for number in NUMBERED.findall(words)]
            if not users:
                yield f"the LLM was asked nothing at {event.time:.2f} s"
            elif len(set(numbers)) != len(numbers):
                yield f"the LLM was given words twice at {event.time:.2f} s: {numbers}"


def each_reply_follows_the_words_that_it_answers(world: World) -> Iterator[str]:
    """In the history: right after them, and never before."""
    for conversation in world.conversations:
        answered: set[str] = set()
        if _forgotten(world):
            return
        for message in conversation.history.messages:
            numbers = NUMBERED.findall(message.content)
            if message.role == "user":
                answered |= set(numbers)
            elif message.role == "assistant" and not answered >= set(numbers):
                yield f"history has {message.content!r} before the words that it answers"


def nothing_that_was_said_is_lost(world: World) -> Iterator[str]:
    """All that was typed or told as understood is in the history once, in the order of its kind."""
    said: Counter[str] = Counter()
    sent = any(action == "send" for action, _ in world.plan.actions)  # an utterance sent amid another one
    for conversation in world.conversations:
        for sort in ("Type", "Say"):
            numbers = [
                int(number)
                for message in conversation.history.messages
                if message.role == "user"
                for number in NUMBERED.findall(message.content)
                if message.content.startswith(sort)
            ]
            if numbers != sorted(numbers) and not sent:
                yield f"history is out of order: {numbers}"
            said.update(map(str, numbers))
    if doubled := [number for number, count in said.items() if count > 1]:
        yield f"history has {doubled} twice"
    if _forgotten(world):
        return
    known = [event.what for event in world.events if event.kind == "typed"]
    known += [e.what.text for e in world.events if e.kind == "transcript" and e.what.is_final]
    if lost := [words for words in known if (found := NUMBERED.findall(words)) and found[0] not in said]:
        yield f"history has lost {lost}"


def every_turn_that_starts_ends(world: World) -> Iterator[str]:
    """Once each, and one after the other."""
    turns = [event for event in world.events if event.kind in ("turn-start", "turn-end")]
    for begun, ended in zip(turns[::2], turns[1::2], strict=False):
        if (begun.kind, ended.kind) != ("turn-start", "turn-end") or begun.what != ended.what:
            yield f"{ended.kind} {ended.what} at {ended.time:.2f} s in the turn {begun.what}"
    if len(turns) % 2:
        yield f"the turn {turns[-1].what} never ended"


def every_tool_that_starts_ends(world: World) -> Iterator[str]:
    """Once each, also where the user interrupts."""
    begun = Counter(e.what.call_id for e in world.events if e.kind == "tool-call-start")
    ended = Counter(e.what.call_id for e in world.events if e.kind == "tool-call-end")
    if begun != ended:
        yield f"tools began {dict(begun)} and ended {dict(ended)}"


def nothing_is_paid_without_a_yes(world: World) -> Iterator[str]:
    """What the user said last before it was their consent."""
    for event in world.events:
        if event.kind == "paid" and not str(event.what).lower().startswith("yes"):
            yield f"paid at {event.time:.2f} s after {event.what!r}"


def a_reply_is_the_sum_of_its_chunks(world: World) -> Iterator[str]:
    """And no chunk of it comes after the next turn has begun."""
    written = ""
    for event in world.events:
        match event.what:
            case LlmChunk(content=content):
                written += content
            case LlmReply(text=text) if text != written:
                yield f"the reply {text!r} at {event.time:.2f} s came in chunks as {written!r}"
        if event.kind == "turn-start":
            written = ""


def only_what_was_made_to_fail_fails(world: World) -> Iterator[str]:
    """Nothing fails in a way that was not foreseen."""
    errors = [event.what for event in world.events if isinstance(event.what, ErrorMessage)]
    yield from (f"{error.code}: {error.message}" for error in errors if error.code not in _MAY_FAIL)


def in_the_end_all_is_quiet(world: World) -> Iterator[str]:
    """After a while without a word from the user all is idle, and nothing is left to say."""
    if world.plan.settles:
        settled = [event.kind for event in world.events].index("settled")
        states = [state for event in world.events[:settled] if (state := _state(event))]
        if states and states[-1] != "idle":
            yield f"the session ends in the state {states[-1]}"
        if world.conversations[-1].announcements:
            yield "an announcement was never said"
        if late := [e.kind for e in world.events[settled + 1 :] if e.kind not in ("tts-cancelled",)]:
            yield f"after the end came {late}"
    if world.playout.playing:
        yield "the playout has sound left"
    if world.llm.running:
        yield "the LLM goes on writing"


def no_task_is_left(world: World) -> Iterator[str]:
    """A closed session has ended all that it began."""
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task() and not task.done():
            yield f"a task is left: {task.get_name()}"


RULES: Final[tuple[Rule, ...]] = (
    each_start_of_speech_is_closed_once,
    the_agent_is_heard_between_start_and_end_alone,
    whoever_is_told_speaking_hears_something,
    the_agent_is_silent_while_it_listens,
    a_stage_ends_by_time_after_an_answer_and_in_silence,
    the_llm_is_asked_the_newest_words,
    each_reply_follows_the_words_that_it_answers,
    nothing_that_was_said_is_lost,
    every_turn_that_starts_ends,
    every_tool_that_starts_ends,
    nothing_is_paid_without_a_yes,
    a_reply_is_the_sum_of_its_chunks,
    only_what_was_made_to_fail_fails,
    in_the_end_all_is_quiet,
    no_task_is_left,
)


def breaches(world: World) -> list[str]:
    """Which rules were broken, and how; asked on the loop on which the world lived."""
    return [f"{rule.__name__}: {words}" for rule in RULES for words in rule(world)]


def _paired(world: World, opening: str, *closing: str) -> Iterator[str]:
    kinds = [event.kind for event in world.events if event.kind in (opening, *closing)]
    for before, kind in pairwise(["", *kinds]):
        if (kind == opening) is (before == opening):
            yield f"{kind} after {before or 'nothing'}: {kinds}"
    if kinds and kinds[-1] == opening:
        yield f"{opening} was never closed"


def _state(event: Event) -> str:
    return event.what.state if isinstance(event.what, StateMessage) else ""


def _forgotten(world: World) -> bool:
    """Whether the user, or a new stage, had something forgotten."""
    playbook = world.plan.playbook
    clearing = playbook is not None and any(way.action.clear_history for way in playbook.transitions)
    return any(e.kind == "forgotten" or clearing and e.kind == "stage-change" for e in world.events)
