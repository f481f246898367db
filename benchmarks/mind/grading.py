"""Whether an answer is useful: by the rules of its entry, and by hand where these can't tell."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.mind.effects import comes_to, is_named
from benchmarks.mind.patterns import found, simplified
from benchmarks.mind.suite import FOLDER, HALVES, Conversation, Request, Turn
from benchmarks.mind.talk import Reply
from localvoice.contract.errors import ErrorCode

UNSPEAKABLE: Final = re.compile(r"<\|?/?\w[^>]*>|\[/?INST\]|```|\{\s*\"|\"\s*[:}]")
"""Control tokens, markup, code and JSON: no voice can speak them."""
OTHERS: Final = (
    r"(?:I am|I'm|I was|I have been|I've been|my name is|call me"
    r"|(?:^|[.!?] )(?:made|created|developed|trained|built) by)"
    r" (?:an? |the )?(?:(?!not |never )\w+ ){0,6}{other_maker}"
    r"|{other_maker}(?: \w+){0,2} (?:made|created|developed|trained|built|owns) me"
)
"""It calls itself another's."""
GRADES: Final = FOLDER / "grades"


class Grade(BaseModel):
    """What a person thinks of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """The entry's."""
    answer: str
    """Its exact words."""
    useful: bool
    why: Annotated[str, Field(min_length=3)]


@dataclass(frozen=True)
class Verdict:
    """Of one judged answer."""

    useful: bool
    why: str = ""
    """What was wrong, or the words of the grade."""
    ungraded: bool = False
    """The rules hold, and a grade by hand is missing; it counts as not useful."""
    needs_call: bool = False
    call_right: bool = False
    """The call that was needed is made, or one that isn't needed is left out and the words are right."""
    call_wrong: bool = False
    """A tool was called that the request doesn't need."""


def verdicts(
    request: Request | Conversation, replies: Sequence[Reply], grades: Mapping[tuple[str, str], Grade]
) -> list[Verdict]:
    """One of each judged turn; the replies are those of all turns, as far as the conversation came."""
    pairs = zip(request.turns, replies, ["", *(each.text for each in replies)], strict=False)
    return [judge(request.id, turn, reply, before, grades) for turn, reply, before in pairs if turn.judged]


def judge(
    id: str, turn: Turn, reply: Reply, before: str = "", grades: Mapping[tuple[str, str], Grade] = {}
) -> Verdict:
    """By the rules, then by hand."""
    wrong = list(_wrong_words(turn, reply, before))
    wanted = turn.call
    right = (
        wanted is not None
        and any(comes_to(each, wanted) for each in reply.calls)
        and (wanted.effect_told or not wrong)
    )
    unwanted = [each.name for each in reply.calls if wanted is None or not is_named(each, wanted)]
    if wanted is not None and not right and not wanted.optional:
        wrong.append("the call comes to something else" if reply.calls else "no call")
    if unwanted:
        wrong.append(f"calls {', '.join(unwanted)}")
    left_out = wanted is not None and wanted.optional and not reply.calls and not wrong
    verdict = partial(
        Verdict,
        needs_call=wanted is not None,
        call_right=right or left_out,
        call_wrong=bool(unwanted),
    )
    if wrong:
        return verdict(False, "; ".join(wrong))
    if turn.by_hand is None:
        return verdict(True)
    grade = grades.get((id, reply.text))
    return verdict(False, "ungraded", ungraded=True) if grade is None else verdict(grade.useful, grade.why)


def _wrong_words(turn: Turn, reply: Reply, before: str) -> Iterable[str]:
    text, now = reply.text, reply.at
    # A tool that refuses tells why in the answer; whether that is useful, the rules say.
    yield from (f"fails with {code}" for code in reply.errors if code != ErrorCode.TOOL_ERROR)
    if turn.silence:
        if text:
            yield "speaks"
        return
    if not text:
        yield "says nothing"
        return
    yield from (f"without {each}" for each in turn.must if not found(each, text, now))
    yield from (f"says {each}" for each in turn.must_not if found(each, text, now))
    if UNSPEAKABLE.search(text):
        yield "can't be spoken"
    if found(OTHERS, text, now):
        yield "is another's"
    if reply.words > turn.max_words:
        yield f"{reply.words} words"
    if turn.again and simplified(before).strip(" .") not in simplified(text):
        yield "isn't what it said before"


@cache
def all_grades() -> Mapping[tuple[str, str], Grade]:
    """Those of both halves, by entry and answer."""
    grades: dict[tuple[str, str], Grade] = {}
    for half in HALVES:
        path = GRADES / f"{half.replace('-', '_')}.toml"
        for each in tomllib.loads(path.read_text("utf-8")).get("grade", []):
            grade = Grade.model_validate(each)
            grades[grade.id, grade.answer] = grade
    return grades
