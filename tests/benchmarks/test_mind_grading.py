"""What is useful, which calls are wrong or missing, and what the figures make of it."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.mind.figures import Outcome, by_conversation, by_kind, outcome, show, show_failures
from benchmarks.mind.grading import Grade, Verdict, judge
from benchmarks.mind.records import recorded, replies_of, write_ungraded
from benchmarks.mind.suite import Conversation, Request, Turn
from benchmarks.mind.talk import Call, Reply
from benchmarks.report import write_figures

NOW = datetime(2026, 11, 30, 12, 40, tzinfo=UTC)
TEN = Call("set_timer", {"duration": "10 minutes"}, "The timer is set for 10 minutes, until 12:50 PM.")
TIMER: dict[str, Any] = {"call": {"tool": "{timer_tool}", "seconds": 600}}


def reply(text: str, *calls: Call, **more: Any) -> Reply:
    return Reply("Hello?", text, NOW, calls, first_ms=300.0, end_ms=900.0, **more)


def verdict(answer: Reply, before: str = "", **rules: Any) -> Verdict:
    return judge("one", Turn.model_validate({"said": "Hello?"} | rules), answer, before)


@pytest.mark.parametrize(
    ("text", "rules", "useful"),
    [
        ("It's Canberra.", {"must": ["canberra"]}, True),
        ("It's Sydney.", {"must": ["canberra"]}, False),
        ("Canberra, not Sydney.", {"must": ["canberra"], "must_not": ["sydney"]}, False),
        ("Oslo or Bergen.", {"must": ["oslo", "bergen"]}, True),
        ("Oslo.", {"must": ["oslo", "bergen"]}, False),
        ("It is 12:41 PM.", {"must": ["{time}"]}, True),
        ("It is 11:40 AM.", {"must": ["{time}"]}, False),
        ("", {"must": ["canberra"]}, False),
        ("", {"silence": True}, True),
        ("Okay.", {"silence": True}, False),
        ("one two three four", {"must": ["1"], "max_words": 3}, False),
        ("Fine. <|im_end|>", {"must": ["fine"]}, False),
        ('{"name": "fine"}', {"must": ["fine"]}, False),
        ("I am fine, I was made by Alibaba Cloud.", {"must": ["fine"]}, False),
        ("I'm a large language model by Google, fine.", {"must": ["fine"]}, False),
        ("Google is a fine company.", {"must": ["fine"]}, True),
        ("No, I'm not ChatGPT.", {"must": ["no"]}, True),
        ("The first one was made by Apple, fine.", {"must": ["fine"]}, True),
        ("I'm not trained by Alibaba, fine.", {"must": ["fine"]}, True),
        ("I was created by a company called Amazon, fine.", {"must": ["fine"]}, False),
        ("Yes, OpenAI created me. Fine?", {"must": ["fine"]}, False),
        ("No, I am Siri.", {"must": ["no"]}, False),
        ("I said: it's Oslo!", {"again": True}, True),
        ("Bergen.", {"again": True}, False),
    ],
)
def test_words_are_graded_by_rules(text: str, rules: dict[str, Any], useful: bool) -> None:
    assert verdict(reply(text), "It's Oslo.", **rules).useful is useful


@pytest.mark.parametrize(
    "call",
    [
        TEN,
        Call("start_timer", {"seconds": 600}),
        Call("timers", {"action": "set", "minutes": 10}),
        Call("set_timer", {"duration": "ten minutes"}, "Ten minutes, starting now."),
        Call("change_timer", {"to": "10m"}, "Your tea timer now runs for 10 minutes."),
    ],
)
def test_a_call_is_right_by_what_it_comes_to(call: Call) -> None:
    assert verdict(reply("Ten minutes.", call), **TIMER) == Verdict(True, needs_call=True, call_right=True)


@pytest.mark.parametrize(
    "call",
    [
        Call("set_timer", {"duration": "15 minutes"}, "The timer is set for 15 minutes."),
        Call("set_timer", {"duration": "10 minutes"}, "The timer is set for 1 hour 10 minutes."),
        Call("set_timer", {"duration": "10 minutes"}, error="there are too many timers"),
        Call("set_timer", {"duration": "15 minutes"}, "It runs until 12:10."),
        Call("calculate", {"expression": "10 minutes"}, "10 minutes"),
    ],
)
def test_a_call_that_comes_to_something_else_is_not_useful(call: Call) -> None:
    found = verdict(reply("Ten minutes.", call), **TIMER)
    assert not found.useful and not found.call_right
    assert found.call_wrong is (call.name == "calculate")


@pytest.mark.parametrize(
    ("result", "right"),
    [
        ("The alarm is set for 7:00 AM tomorrow.", True),
        ("seven in the morning", True),
        ("2026-12-01T07:00", True),
        ("The alarm is set for 7:00 PM.", False),
        ("The alarm is set for 7:30 AM.", False),
        ("It goes off in 7 minutes.", False),
    ],
)
def test_an_alarm_is_right_by_its_time_of_day(result: str, right: bool) -> None:
    wanted: dict[str, Any] = {"tool": "{timer_tool}", "clock": "07:00"}
    assert verdict(reply("Okay.", Call("set_alarm", {}, result)), call=wanted).useful is right


def test_what_a_call_is_about_is_in_its_arguments_or_its_result() -> None:
    wanted: dict[str, Any] = {"tool": "{timer_tool}", "seconds": 600, "holds": ["oven"]}
    assert not verdict(reply("Okay.", TEN), call=wanted).useful
    named = Call("set_timer", {"duration": "10 minutes", "label": "oven"}, "Set for 10 minutes.")
    assert verdict(reply("Okay.", named), call=wanted).useful


def test_a_call_whose_effect_is_not_told_is_right_where_the_words_are() -> None:
    sum_of: dict[str, Any] = {"must": ["4"], "call": {"tool": "{sum_tool}", "optional": True}}
    for words, right in (("Four.", True), ("Five.", False)):
        assert verdict(reply(words, Call("calculate", {}, words)), **sum_of).call_right is right


def test_a_tool_that_refuses_is_no_failure_of_the_agent() -> None:
    refused = reply("There is no timer.", errors=("TOOL_ERROR",))
    assert verdict(refused, must=["no timer"]).useful
    assert not verdict(reply("There is no timer.", errors=("LLM_ERROR",)), must=["no timer"]).useful


def test_a_call_that_is_not_needed_is_wrong() -> None:
    assert verdict(reply("Fine.", TEN), must=["fine"]).call_wrong


def test_an_optional_call_may_be_left_out_where_the_words_are_right() -> None:
    optional: dict[str, Any] = {"must": ["4"], "call": {"tool": "{sum_tool}", "optional": True}}
    assert verdict(reply("Four."), **optional) == Verdict(True, needs_call=True, call_right=True)
    wrong = verdict(reply("Five."), **optional)
    assert not wrong.useful and not wrong.call_right
    failed = Call("calculate", {"expression": "two"}, error="this is no expression")
    assert verdict(reply("Four.", failed), **optional).useful
    assert not verdict(reply("Four."), must=["4"], call={"tool": "{sum_tool}"}).useful


def test_a_grade_by_hand_is_that_of_the_exact_answer_and_comes_after_the_rules() -> None:
    turn = Turn(said="Tell me a joke.", by_hand="has a point", max_words=5)
    grades = {
        ("one", text): Grade(id="one", answer=text, useful=True, why="fun") for text in ("Ha.", "a " * 9)
    }
    assert judge("one", turn, reply("Ha."), "", grades) == Verdict(True, "fun")
    assert judge("one", turn, reply("Ha!"), "", grades) == Verdict(False, "ungraded", ungraded=True)
    assert judge("one", turn, reply("a " * 9), "", grades).why == "9 words"


def outcomes() -> list[Outcome]:
    entries: list[dict[str, Any]] = [
        {"id": "fact", "kind": "facts", "said": "Hm?", "must": ["oslo"]},
        {"id": "joke", "kind": "small-talk", "said": "A joke?", "by_hand": "has a point"},
        {"id": "timer", "kind": "timers", "said": ["Set it.", "No, ten."], **TIMER},
        {"id": "tea", "kind": "timers", "said": "Set it.", **TIMER},
    ]
    replies = [
        (reply("Oslo."),),
        (reply('Why "not"?'),),
        (reply("Hm?"), reply("Done.", TEN)),
        (reply("No."),),
    ]
    pairs = zip(map(Request.model_validate, entries), replies, strict=True)
    return [outcome(request, answers, {}) for request, answers in pairs]


def test_the_figures_are_per_cent_of_entries_and_of_calls() -> None:
    rows = by_kind(outcomes())
    assert list(rows) == ["all", "facts", "small-talk", "timers"]
    assert (rows["all"]["useful %"], rows["all"]["no grade"], rows["all"]["n"]) == (50.0, 1, 4)
    assert (rows["timers"]["needed calls %"], rows["timers"]["wrong calls %"]) == (50.0, None)
    assert (rows["facts"]["wrong calls %"], rows["facts"]["end s p95"]) == (0.0, 0.9)


def test_what_was_recalled_is_counted() -> None:
    turns = (
        Turn(said="I'm Nora."),
        Turn(said="Who am I?", must=("nora",), recall=True),
        Turn(said="2 and 2?", must=("4",)),
    )
    answers = reply("Hello Nora."), reply("You are Nora."), reply("Five.")
    row = by_conversation([outcome(Conversation(id="talk", turn=turns), answers, {})])["all"]
    assert [row[name] for name in ("turns", "recalled", "facts", "useful", "judged")] == [3, 1, 1, 1, 2]


def test_the_table_has_a_cell_for_two_ranks_and_failures_are_shown_with_their_calls() -> None:
    out = StringIO()
    console = Console(file=out, width=140, color_system=None)
    show("tuning", by_kind(outcomes()), console)
    show_failures(outcomes(), console)
    assert "0.3/0.3" in out.getvalue() and "tea: no call" in out.getvalue()
    assert "fact:" not in out.getvalue()


def test_answers_are_read_again_and_those_without_a_grade_are_written_to_be_graded(tmp_path: Path) -> None:
    write_figures(tmp_path, "mind", {"answers": recorded(outcomes())})
    again = replies_of(tmp_path.glob("*.json"))
    assert again == {each.request.id: each.replies for each in outcomes()}
    write_ungraded(tmp_path / "grades.toml", outcomes())
    text = (tmp_path / "grades.toml").read_text()
    assert 'answer = "Why \\"not\\"?"' in text and text.count("[[grade]]") == 1
