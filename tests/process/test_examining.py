"""What each part of the exam finds wrong with a language model."""

import io
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from localvoice.catalog.exams import ExamPart
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, CutOff, Prompt, ReplyItem, Sampling, ToolCall, ToolOffer
from localvoice.engines.threads import ThreadPlan
from localvoice.process import examining
from localvoice.process.exam import PART_NAMES, ExamRequest
from localvoice.process.examining import FIRST_WORD_SECONDS, TOKENS_A_SECOND

REQUEST = ExamRequest(
    name="mind",
    file=Path("mind.gguf"),
    projector=None,
    context_tokens=4096,
    key_bits=16,
    device="cpu",
    gpu_layers=None,
    most_bytes=4 << 30,
)
GOOD = {
    "France": "The capital of France is Paris.",
    "week": "A week has seven days.",
    "sky": "It is blue.",
    "barks": "A dog barks.",
    "plus": "Two plus three is 5.",
    "story": "Once upon a time there was a fox who lived in a wood and had a friend.",
    "Italy": "It is Rome.",
    "Tokyo": "It is a quarter past nine in Tokyo.",
}


class Mind:
    """A language model that answers by a word of the question."""

    context_tokens = 4096

    def __init__(self) -> None:
        self.answers = dict(GOOD)
        self.call: ToolCall | None = ToolCall("1", "get_time", {"city": "Tokyo"})
        self.ends = True
        self.fault: Exception | None = None
        self.tool_tokens = 300
        self.asked: list[str] = []

    async def warm_up(self) -> None:
        if self.fault is not None:
            raise self.fault

    async def prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> Prompt:
        return Prompt(messages, offer, 60 + (self.tool_tokens if offer else 0))

    async def reply(
        self, messages: Sequence[ChatMessage], sampling: Sampling, offer: ToolOffer | None = None
    ) -> AsyncGenerator[ReplyItem, None]:
        question = next(each.content for each in reversed(messages) if each.role == "user")
        self.asked.append(f"{messages[-2].content} / {question}")
        if offer is not None and messages[-1].role == "user" and self.call is not None:
            yield self.call
            return
        answer = next(text for word, text in self.answers.items() if word in question)
        for number, word in enumerate(answer.split(" ")):
            yield word if number == 0 else f" {word}"
        if not self.ends:
            yield CutOff()


Sit = Callable[[], Awaitable[dict[str, ExamPart]]]


@pytest.fixture
def mind() -> Mind:
    return Mind()


@pytest.fixture
def sit(mind: Mind, monkeypatch: pytest.MonkeyPatch) -> Sit:
    """Holds the exam; gives the outcome of each part by its name."""

    async def load(*_: object) -> Mind:
        return mind

    monkeypatch.setattr(examining, "load_llm", load)

    async def held() -> dict[str, ExamPart]:
        told = io.StringIO()
        await examining._sit(REQUEST, told)
        parts = [ExamPart.model_validate_json(line) for line in told.getvalue().splitlines()]
        return {part.name: part for part in parts}

    return held


def failed(parts: dict[str, ExamPart]) -> dict[str, str]:
    return {part.name: part.told for part in parts.values() if not part.passed}


async def test_a_good_model_passes(mind: Mind, sit: Sit) -> None:
    parts = await sit()
    assert list(parts) == list(PART_NAMES) and failed(parts) == {}
    assert parts["answers in words"].told == "5 of 5 right"
    assert parts["goes on after an interruption"].told == "“It is Rome.”"
    heard = " ".join(GOOD["story"].split()[:8])
    assert any(asked.startswith(f"{heard} / Stop.") for asked in mind.asked), "only what was heard is read"


@pytest.mark.parametrize(
    ("answers", "part", "told"),
    [
        ({"sky": "<think>The user"}, "answers in words", "on a sunny day? it wrote the mark <think>"),
        ({"sky": ""}, "answers in words", "it said nothing"),
        ({"sky": "green", "plus": "four"}, "answers in words", "3 of 5 right. What colour"),
        ({"Tokyo": "{} [] == ##"}, "calls a tool", "of the result it wrote no words"),
        ({"Tokyo": "I don't know."}, "calls a tool", "of the result it made: “I don't know.”"),
        ({"Italy": "Once upon a time"}, "goes on after an interruption", "“Once upon a time”"),
        ({"Italy": "fox " * 9}, "goes on after an interruption", "it repeats itself"),
    ],
)
async def test_what_a_model_says_wrong(
    answers: dict[str, str], part: str, told: str, mind: Mind, sit: Sit
) -> None:
    mind.answers |= answers
    found = failed(await sit())
    assert list(found) == [part] and told in found[part]


async def test_one_wrong_answer_is_no_failure(mind: Mind, sit: Sit) -> None:
    mind.answers["sky"] = "It is green."
    assert (await sit())["answers in words"] == ExamPart(
        name="answers in words", passed=True, told="4 of 5 right"
    )


async def test_an_answer_has_to_end(mind: Mind, sit: Sit) -> None:
    mind.ends = False
    assert "doesn't come to an end" in failed(await sit())["answers in words"]


@pytest.mark.parametrize(
    ("call", "told"),
    [(None, "it talked instead: “It is a quarter"), ({"city": "Paris"}, "it asked for {'city': 'Paris'}")],
)
async def test_a_tool_has_to_be_called_with_what_was_said(
    call: dict[str, str] | None, told: str, mind: Mind, sit: Sit
) -> None:
    mind.call = None if call is None else ToolCall("1", "get_time", call)
    assert told in failed(await sit())["calls a tool"]


async def test_without_a_model_or_a_template_no_more_is_asked(mind: Mind, sit: Sit) -> None:
    mind.tool_tokens = 0
    assert list(await sit()) == ["loads", "fills in its template"] and not mind.asked
    mind.fault = VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "It can't be loaded.")
    parts = await sit()
    assert failed(parts) == {"loads": "It can't be loaded."} and len(parts) == 1
    mind.fault = RuntimeError("x" * 100_000)
    assert len(failed(await sit())["loads"]) == 1000


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (FIRST_WORD_SECONDS * 1.1, "the first word after 1.65 s"),
        (1.1 / TOKENS_A_SECOND, "then 5 tokens a second"),
        (0.5 / TOKENS_A_SECOND, None),
    ],
)
async def test_a_model_has_to_be_quick(
    seconds: float, told: str | None, mind: Mind, sit: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=seconds)

    def now() -> examining._Moment:
        passed = next(clock)
        return examining._Moment(passed, 10 * passed)

    monkeypatch.setattr(examining._Moment, "now", now)
    found = failed(await sit())
    assert (told in found["keeps to time"]) if told else not found


async def test_what_other_programs_take_does_not_count(
    mind: Mind, sit: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on for a minute with each word, in which the model computes a hundredth of a second."""
    clock = itertools.count()
    monkeypatch.setattr(
        examining._Moment, "now", lambda: examining._Moment(60.0 * (count := next(clock)), 0.01 * count)
    )
    assert failed(await sit()) == {}
    monkeypatch.setattr(examining, "gpu_count", lambda: 1)
    monkeypatch.setattr(examining, "plan_threads", lambda: ThreadPlan(1, 1, 1, 1))
    told = io.StringIO()
    await examining._sit(REQUEST.model_copy(update={"device": "auto"}), told)
    assert "60.00 s" in told.getvalue(), "a GPU is not counted by what the processor does"


async def test_a_model_has_to_fit_into_memory(sit: Sit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "_peak", lambda: 5 << 30)
    assert "5.4 GB at its peak, of 4.3 GB" in failed(await sit())["keeps to memory"]
