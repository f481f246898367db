"""What happens at a change of stage: handlers, hooks, figures, a cancelled turn, a restart."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from localvoice import CustomCondition, JudgingContext, MaxTurnsCondition, StageContext, TimeoutCondition
from localvoice.application.hooks import Hooks, PlaybookContext
from localvoice.contract.errors import Component, ErrorCode
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import StageChange
from localvoice.observability.stopwatch import Timing
from tests.support.playbook_talk import Talk, called, said, targets, way


@pytest.mark.virtual_clock
async def test_a_custom_condition_is_told_everything() -> None:
    seen: list[JudgingContext] = []

    async def ready(context: JudgingContext) -> bool:
        seen.append(context)
        context.data["asked"] = len(seen)
        return context.exchange.reply == "Goodbye."

    talk = Talk(way("t", CustomCondition(evaluate="ready")), handlers={"ready": ready})
    await talk.turn("Hello")
    await asyncio.sleep(2)
    assert targets(*await talk.turn("Bye", reply="Goodbye.")) == [None, "b"]
    assert [context.exchange.reply for context in seen] == ["", "Fine.", "", "Goodbye."]
    assert seen[-1].playbook == PlaybookContext("test", "a", "session", 2, 2000)
    assert (seen[-1].turns_in_stage, seen[-1].exchange.words) == (2, "Bye")
    assert talk.director.data == {"asked": 4}


async def test_a_custom_condition_may_be_a_plain_function() -> None:
    talk = Talk(way("t", CustomCondition(evaluate=lambda context: context.exchange.words == "now")))
    assert targets(*await talk.turn("later")) == [None, None]
    assert targets(*await talk.turn("now")) == ["b", None]


async def test_a_custom_condition_that_fails_leaves_the_conversation_in_its_stage() -> None:
    def broken(context: JudgingContext) -> bool:
        raise ValueError("no such table")

    talk = Talk(
        way("t", CustomCondition(evaluate=broken), priority=1),
        way("u", said("go"), to="c"),
    )
    await talk.before("Hello")
    assert talk.stage == "a"
    (problem,) = talk.director.take_problems()
    assert (problem.code, problem.component) == (ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK)
    assert "broken failed: ValueError: no such table" in problem.message
    assert isinstance(problem.__cause__, ValueError)
    assert talk.director.take_problems() == []
    assert targets((await talk.before("go"))[1]) == ["c"]  # the others are judged all the same


@pytest.mark.virtual_clock
async def test_a_handler_that_hangs_is_given_up() -> None:
    async def stuck(context: JudgingContext) -> bool:
        await asyncio.Event().wait()
        return True

    talk = Talk(way("t", CustomCondition(evaluate=stuck)))
    assert targets((await talk.before("Hello"))[1]) == [None]
    (problem,) = talk.director.take_problems()
    assert "longer than 10 s" in problem.message


@pytest.mark.virtual_clock
async def test_hooks_and_handlers_in_their_order() -> None:
    talk: Talk

    def note(name: str) -> Callable[[StageContext], None]:
        return lambda context: talk.hooked.append((name, context))

    talk = Talk(
        way("t", said("go"), data={"people": 2}),
        stages={
            "a": {"on_enter": "enter", "on_exit": "leave"},
            "b": {"on_enter": note("enter b")},
        },
        handlers={"enter": note("enter a"), "leave": note("leave a")},
    )
    await talk.turn("Hello", called("clock"), reply="Hi.")
    await asyncio.sleep(3)
    await talk.turn("go", reply="Gone.")
    a, b = (talk.playbook.stage(each) for each in "ab")
    assert a and b
    entered, left = (PlaybookContext("test", "a", "session", *each) for each in ((0, 0), (2, 3000)))
    in_b = PlaybookContext("test", "b", "session", 2, 0)
    data = {"people": 2}
    timing = talk.hooked[4][-1]
    assert isinstance(timing, Timing)
    assert timing.duration_ms == 3000 == timing.end_time - timing.start_time
    assert talk.hooked == [
        ("on_stage_enter", entered, "a", None),
        ("enter a", StageContext(entered, a, None, {}, data)),
        ("on_playbook_turn_end", PlaybookContext("test", "a", "session", 1, 0), "Hi.", 1),
        ("leave a", StageContext(left, a, b, data, data)),
        ("on_stage_exit", left, "a", "b", timing),
        ("on_transition", left, "t", "a", "b"),
        ("on_stage_enter", in_b, "b", "a"),
        ("enter b", StageContext(in_b, b, a, data, data)),
        ("on_playbook_complete", in_b, "b", 2),
        ("on_playbook_turn_end", in_b, "Gone.", 0),
    ]


async def test_what_fails_at_a_change_of_stage_does_not_hold_it_up(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*args: object) -> None:
        raise ValueError("broken")

    talk = Talk(
        way("t", said("go")),
        stages={"a": {"on_enter": broken, "on_exit": broken}, "b": {"on_enter": broken}},
        hooks=Hooks(on_stage_exit=broken, on_stage_enter=broken),
    )
    assert targets(*await talk.turn("go")) == ["b", None]
    assert [each.message.split(" failed")[0] for each in talk.director.take_problems()] == [
        "The playbook's on_enter of a",
        "The playbook's on_exit of a",
        "The playbook's on_enter of b",
    ]
    assert sum("hook" in record.getMessage() for record in caplog.records) == 3


async def test_no_stage_is_complete_that_has_a_way_out() -> None:
    talk = Talk(way("t", said("go")), way("u", said("stop"), source="*", to="c"))
    await talk.turn("go")
    assert talk.figures.of(Metric.COMPLETIONS) == []
    await talk.turn("stop")
    assert talk.figures.of(Metric.COMPLETIONS) == [(1, {"playbook": "test", "stage": "c"})]
    assert [each[2:] for each in talk.hooked if each[0] == "on_playbook_complete"] == [("c", 2)]


@pytest.mark.virtual_clock
async def test_figures() -> None:
    talk = Talk(way("t", said("go")))
    await talk.turn("Hello")
    await asyncio.sleep(1.5)
    await talk.turn("go")
    await talk.turn("on")
    a, b = ({"playbook": "test", "stage": each} for each in "ab")
    assert talk.figures.of(Metric.STAGE_TURNS) == [(1, a), (1, a), (1, b)]
    assert talk.figures.of(Metric.STAGE_DURATION) == [(1500, a)]
    assert talk.figures.of(Metric.STAGE_CURRENT) == [(1, a), (0, a), (1, b)]
    assert talk.figures.of(Metric.TRANSITIONS) == [(1, {"playbook": "test", "from": "a", "to": "b"})]
    assert talk.figures.of(Metric.COMPLETIONS) == [(1, b)]


async def test_a_cancelled_turn_leaves_the_change_of_stage_whole() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def load(context: StageContext) -> None:
        entered.set()
        await release.wait()
        context.data["loaded"] = True

    talk = Talk(
        way("t", said("go"), transition_message="Now {loaded}.", clear_history=True),
        way("u", said("on"), source="b", to="c"),
        stages={"b": {"on_enter": load}},
    )
    turn = asyncio.create_task(talk.turn("go"))
    await entered.wait()
    turn.cancel()
    await asyncio.wait([turn])
    assert turn.cancelled()
    assert talk.stage == "b"
    assert talk.director.save()["turns_in_stage"] == 0
    assert talk.director.seconds_left() == 0  # so that the change is told in silence, too
    release.set()
    exchange, change = await talk.before("on")
    assert talk.director.data == {"loaded": True}
    assert change == StageChange("a", "b", "keyword go", "Now True.", clear_history=True)
    assert [each[0] for each in talk.hooked].count("on_stage_enter") == 2
    assert targets(await talk.director.after_reply(exchange)) == ["c"]


async def test_a_change_that_was_not_told_is_told_in_silence() -> None:
    entered = asyncio.Event()

    async def slow(context: StageContext) -> None:
        entered.set()
        await asyncio.sleep(0)

    talk = Talk(way("t", said("go")), stages={"b": {"on_enter": slow}})
    turn = asyncio.create_task(talk.turn("go"))
    await entered.wait()
    turn.cancel()
    await asyncio.wait([turn])
    assert targets(await talk.director.on_timeout(), await talk.director.on_timeout()) == ["b", None]


async def test_a_change_that_two_wait_for_is_told_once() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(context: StageContext) -> None:
        entered.set()
        await release.wait()

    on = way("u", said("fine", in_reply=True), source="b", to="c")
    talk = Talk(way("t", said("go")), on, stages={"b": {"on_enter": slow}})
    turn = asyncio.create_task(talk.turn("go"))
    await entered.wait()
    silence = asyncio.create_task(talk.director.on_timeout())
    await asyncio.sleep(0)
    release.set()
    assert targets(*await turn, await silence) == ["b", "c", None]


async def test_a_turn_that_was_never_answered_changes_nothing_more() -> None:
    talk = Talk(
        way("t", said("go")), way("u", said("on"), source="b", to="c"), stages={"a": {"tools": ("look",)}}
    )
    await talk.before("go")  # cancelled here: no after_reply
    assert talk.stage == "b"
    assert targets(*await talk.turn("on")) == ["c", None]


@pytest.mark.virtual_clock
async def test_it_goes_on_after_a_restart() -> None:
    ways = (
        way("t", said("go"), data={"people": 2}),
        way("u", MaxTurnsCondition(count=2), source="b", to="c"),
        way("v", TimeoutCondition(duration_ms=60_000), source="b", to="a"),
    )
    talk = Talk(*ways)
    assert talk.director.save() == {}
    await talk.turn("go")
    await talk.turn("one")
    await asyncio.sleep(20)
    saved = talk.director.save()
    assert saved == {
        "playbook": "test",
        "stage": "b",
        "turns": 2,
        "turns_in_stage": 1,
        "seconds_in_stage": 20,
        "data": {"people": 2},
    }
    await asyncio.sleep(1000)
    talk.hooked.clear()
    talk.director = talk.fresh()
    talk.director.restore(saved)
    assert talk.stage == "b"
    assert talk.director.seconds_left() == 40
    assert talk.director.data == {"people": 2}
    assert targets(*await talk.turn("two")) == [None, "c"]
    assert [each[0] for each in talk.hooked][:2] == ["on_playbook_turn_end", "on_stage_exit"]
    assert talk.hooked[0][1] == PlaybookContext("test", "b", "session", 3, 20_000)


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "gone"},
        {"playbook": "another"},
        {"turns": -1},
        {"data": 1},
        {"seconds_in_stage": float("inf")},
    ],
)
async def test_what_no_longer_fits_starts_again(
    change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    talk = Talk(way("t", said("go"), source="*"), way("u", said("on"), to="c"))
    await talk.turn("go")
    saved = {**talk.director.save(), **change}
    talk.director = talk.fresh()
    talk.director.restore(saved)
    assert len(caplog.records) == 1
    assert "starts again" in caplog.text
    assert (talk.stage, talk.director.save()) == ("a", {})


async def test_nothing_saved_is_nothing_to_log(caplog: pytest.LogCaptureFixture) -> None:
    talk = Talk(way("t", said("go")), way("u", said("on"), to="c"))
    talk.director.restore({})
    assert talk.stage == "a"
    assert not caplog.records


async def test_data_without_a_json_type_is_not_saved(caplog: pytest.LogCaptureFixture) -> None:
    def fill(context: StageContext) -> None:
        context.data.update(people=2, lock=asyncio.Lock(), share=float("nan"))

    ways = (way("t", said("go")), way("u", said("on"), to="c"))
    talk = Talk(*ways, stages={"a": {"on_enter": fill}})
    await talk.turn("Hello")
    assert talk.director.save()["data"] == {"people": 2}
    assert len(caplog.records) == 2
