"""The process in which a language model is examined: it asks, judges, and tells the outcome of each part.

The questions are so easy that a model which talks at all knows the answers: what fails here is a broken file,
a template that isn't filled in as the model was trained, or a cache that doesn't hold what was read.
"""

import asyncio
import os
import re
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from localvoice.catalog.exams import ExamPart
from localvoice.contract.errors import VoiceError
from localvoice.engines.chat import ChatMessage, CutOff, ReplyItem, Sampling, ToolCall, ToolOffer, ToolSpec
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.loading import EngineFiles, EngineOptions, load_llm
from localvoice.engines.threads import plan_threads
from localvoice.engines.whisper import gpu_count
from localvoice.process.exam import ESSENTIAL, PART_NAMES, ExamRequest
from localvoice.process.trial import begin_trial, limit_memory

FIRST_WORD_SECONDS: Final = 1.5
"""From a short question to the first word, at the best of five. Hearing and speaking come on top; after two
seconds of silence a caller asks whether anyone is there."""
TOKENS_A_SECOND: Final = 6.0
"""Of an answer, by its quicker tokens: twice as fast as a voice speaks them, so that the voice never has to
wait, also while it computes on the same cores."""
_RIGHT: Final = 4
"""Of five answers: a small model may be wrong once."""
_ANSWER_TOKENS: Final = 120
"""An answer that doesn't end by itself in so many doesn't end."""
_MOST_TEXT: Final = 1000
"""Characters of an outcome: some libraries put a whole model into their errors."""
_HEARD_ITEMS: Final = 8
"""What a user lets pass before they interrupt."""

_QUESTIONS: Final = (
    ("What is the capital of France?", r"paris"),
    ("How many days does a week have?", r"seven|7"),
    ("What colour is the sky on a sunny day?", r"blue"),
    ("Which animal barks, a dog or a fish?", r"dog"),
    ("What is two plus three?", r"five|5"),
)
_CLOCK: Final = ToolSpec(
    "get_time",
    "Tell what time it is in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
_CONTROL: Final = re.compile(r"<\|?/?[a-z_]{2,30}\|?>|\[/?[A-Z_]{4,20}\]|◁|<\|", re.IGNORECASE)
"""Marks of templates and of reasoning, which no voice should read."""
_LOOP: Final = re.compile(r"(\b\w+\b)(?:\W+\1\b){5}|(.{12,}?)\2{3}", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """A reply, and how long it took."""

    text: str
    call: ToolCall | None
    whole: bool
    """It came to its own end."""
    first_seconds: float
    gaps: tuple[float, ...]
    """Seconds between its items, which are about a token each."""


class _Moment(NamedTuple):
    clock: float
    """Seconds."""
    computed: float
    """Seconds that all threads of this process have computed."""

    @classmethod
    def now(cls) -> "_Moment":
        return cls(time.perf_counter(), time.process_time())


class _Failed(Exception):
    """The part is not passed; the message says why."""


def fault_in_words(text: str) -> str | None:
    """What a voice can't read of it; None if it can."""
    if not text.strip():
        return "it said nothing"
    if mark := _CONTROL.search(text):
        return f"it wrote the mark {mark[0]}"
    letters = sum(each.isalnum() for each in text)
    if letters < 0.5 * len("".join(text.split())):
        return f"it wrote no words: {_short(text)}"
    if _LOOP.search(text):
        return f"it repeats itself: {_short(text)}"
    return None


class Sitting:
    """One exam."""

    def __init__(self, request: ExamRequest) -> None:
        self._request = request
        self._sampling = replace(Sampling(max_tokens=_ANSWER_TOKENS), **request.sampling)
        self._system = ChatMessage("system", request.system_prompt)
        self._answers: list[Answer] = []
        self._loaded: LlamaLlm | None = None
        self._on_gpu = request.device != "cpu" and gpu_count() > 0
        self._plan = plan_threads()

    @property
    def _llm(self) -> LlamaLlm:
        assert self._loaded is not None
        return self._loaded

    async def load(self) -> str:
        """Load it as a start does, and run it once."""
        request, begun = self._request, time.perf_counter()
        options = EngineOptions(
            device=request.device,
            gpu_layers=request.gpu_layers,
            context_tokens=request.context_tokens,
            key_bits=request.key_bits,
        )
        self._loaded = await load_llm(EngineFiles(llm=request.file, projector=request.projector), options)
        await self._loaded.warm_up()
        return f"in {time.perf_counter() - begun:.1f} s"

    async def template(self) -> str:
        """Fill in the template, with and without a tool."""
        talk = [self._system, *_said("Hello.", "Hi, how can I help?", "What time is it?")]
        plain, offering = await self._llm.prompt(talk), await self._llm.prompt(talk, ToolOffer((_CLOCK,)))
        if not plain.tokens < offering.tokens <= self._llm.context_tokens:
            raise _Failed(f"{plain.tokens} tokens without a tool, {offering.tokens} with one")
        return f"{plain.tokens} tokens without a tool, {offering.tokens} with one"

    async def questions(self) -> str:
        """Ask the five questions, each by itself."""
        wrong = []
        for question, right in _QUESTIONS:
            answer = await self._ask([self._system, *_said(question)])
            self._answers.append(answer)
            fault = fault_in_words(answer.text) or (None if answer.whole else "it doesn't come to an end")
            if fault:
                raise _Failed(f"{question} {fault}")
            if not re.search(rf"\b(?:{right})\b", answer.text, re.IGNORECASE):
                wrong.append(f"{question} {_short(answer.text)}")
        count = f"{len(_QUESTIONS) - len(wrong)} of {len(_QUESTIONS)} right"
        if len(_QUESTIONS) - len(wrong) < _RIGHT:
            raise _Failed(f"{count}. {' '.join(wrong)}")
        return count

    async def tool(self) -> str:
        """Offer a tool, ask for what only it can tell, and hear what is made of its result."""
        offer, talk = ToolOffer((_CLOCK,)), [self._system, *_said("What time is it in Tokyo right now?")]
        asked = await self._ask(talk, offer)
        if asked.call is None:
            raise _Failed(f"it talked instead: {_short(asked.text)}")
        if "tokyo" not in str(asked.call.arguments).lower():
            raise _Failed(f"it asked for {dict(asked.call.arguments)}")
        result = "In Tokyo it is a quarter past nine in the evening."
        talk += [
            ChatMessage("assistant", "", (asked.call,)),
            ChatMessage("tool", result, tool_call_id=asked.call.call_id),
        ]
        told = await self._ask(talk, offer)
        if fault := fault_in_words(told.text):
            raise _Failed(f"of the result {fault}")
        if not re.search(r"nine|9|21", told.text):
            raise _Failed(f"of the result it made: {_short(told.text)}")
        return _short(told.text)

    async def interruption(self) -> str:
        """Cut a reply, and ask something else: its cache has to give back what was not heard."""
        talk = [self._system, *_said("Tell me a long story about a fox.")]
        heard, count = "", 0
        async with aclosing(self._llm.reply(talk, self._sampling)) as items:
            async for item in items:
                heard, count = heard + item if isinstance(item, str) else heard, count + 1
                if count == _HEARD_ITEMS:
                    break
        talk += [ChatMessage("assistant", heard.strip() or "Well,")]
        answer = await self._ask([*talk, *_said("Stop. Tell me what the capital of Italy is.")])
        if fault := fault_in_words(answer.text):
            raise _Failed(fault)
        if "rome" not in answer.text.lower():
            raise _Failed(_short(answer.text))
        return _short(answer.text)

    async def pace(self) -> str:
        """Look at the quickest of the answers: what disturbs makes them slower, never quicker."""
        gaps = sorted(gap for answer in self._answers for gap in answer.gaps)
        if not gaps:
            raise _Failed("there is no answer to go by")
        first = min(answer.first_seconds for answer in self._answers)
        speed = 1 / gaps[len(gaps) // 4]
        told = f"the first word after {first:.2f} s, then {speed:.0f} tokens a second"
        if first > FIRST_WORD_SECONDS or speed < TOKENS_A_SECOND:
            raise _Failed(f"{told}; it has to be {FIRST_WORD_SECONDS} s and {TOKENS_A_SECOND:.0f} tokens")
        return told

    async def memory(self) -> str:
        """Look at the most that this process had in memory, the model's file included."""
        peak, most = _peak(), self._request.most_bytes
        told = f"{peak / 1e9:.1f} GB at its peak"
        if peak > most:
            raise _Failed(f"{told}, of {most / 1e9:.1f} GB that it may take")
        return told

    async def _ask(self, talk: Sequence[ChatMessage], offer: ToolOffer | None = None) -> Answer:
        begun, times, items = _Moment.now(), list[_Moment](), list[ReplyItem]()
        async with aclosing(self._llm.reply(talk, self._sampling, offer)) as reply:
            async for item in reply:
                items.append(item)
                times.append(_Moment.now())
        text = "".join(item for item in items if isinstance(item, str))
        call = next((item for item in items if isinstance(item, ToolCall)), None)
        whole = not any(isinstance(item, CutOff) for item in items)
        first = self._seconds(begun, times[0] if times else _Moment.now(), self._plan.llm_prompt)
        gaps = (self._seconds(*both, self._plan.llm_decode) for both in pairwise(times))
        return Answer(text, call, whole, first, tuple(gaps))

    def _seconds(self, begun: "_Moment", ended: "_Moment", threads: int) -> float:
        """How long it took; on the CPU without what the threads waited for cores that other programs had."""
        passed = ended.clock - begun.clock
        return passed if self._on_gpu else min(passed, (ended.computed - begun.computed) / threads)


def _said(*words: str) -> list[ChatMessage]:
    """Messages of the user and the assistant in turn."""
    return [ChatMessage("assistant" if number % 2 else "user", text) for number, text in enumerate(words)]


def _short(text: str) -> str:
    words = " ".join(text.split())
    return f"“{words[:100]}…”" if len(words) > 100 else f"“{words}”"


def _peak() -> int:
    """Bytes in memory at most, so far."""
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


async def _sit(request: ExamRequest, answers: TextIO) -> None:
    """All parts, one after another; without a model or a template there are no more."""
    sitting = Sitting(request)
    speaking = sitting.questions, sitting.tool, sitting.interruption
    parts = sitting.load, sitting.template, *speaking, sitting.pace, sitting.memory
    for name, part in zip(PART_NAMES, parts, strict=True):
        outcome = await _outcome(name, part)
        print(outcome.model_dump_json(), file=answers)
        if name in ESSENTIAL and not outcome.passed:
            return


async def _outcome(name: str, part: Callable[[], Awaitable[str]]) -> ExamPart:
    try:
        passed, told = True, await part()
    except _Failed as reason:
        passed, told = False, str(reason)
    except VoiceError as error:
        passed, told = False, error.message
    except Exception as error:  # a file of any content may lead anywhere
        passed, told = False, f"{type(error).__name__}: {error}"
    return ExamPart(name=name, passed=passed, told=told.encode("utf-8", "replace").decode()[:_MOST_TEXT])


def main() -> None:
    """Examine the model that the request names, and end at once: what was loaded may be broken."""
    answers, asked = begin_trial()
    request = ExamRequest.model_validate_json(asked)
    on_cpu = request.device == "cpu" or not gpu_count()
    limit_memory(request.most_bytes if on_cpu else None)
    asyncio.run(_sit(request, answers))
    os._exit(0)


if __name__ == "__main__":
    main()
