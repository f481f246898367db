"""What was answered, as JSON to read again, and as TOML to be graded."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmarks.mind.figures import Outcome
from benchmarks.mind.talk import Reply

_REPLIES = TypeAdapter(tuple[Reply, ...])


def recorded(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """The answers of each entry, of JSON's types."""
    return [
        {
            "id": each.request.id,
            "useful": each.useful,
            "verdicts": [asdict(verdict) for verdict in each.verdicts],
            "replies": _REPLIES.dump_python(each.replies, mode="json"),
        }
        for each in outcomes
    ]


def replies_of(files: Iterable[Path]) -> dict[str, tuple[Reply, ...]]:
    """The answers that earlier runs wrote, by the entry's id; a later file goes before an earlier one."""
    answers: dict[str, tuple[Reply, ...]] = {}
    for file in files:
        for each in json.loads(file.read_text("utf-8"))["answers"]:
            answers[each["id"]] = _REPLIES.validate_python(each["replies"])
    return answers


def write_ungraded(path: Path, outcomes: Sequence[Outcome]) -> None:
    """A TOML of grades in which `useful` and `why` are left to fill in."""
    lines = [
        f"# Written {datetime.now():%Y-%m-%d}. Set useful and why, and move each to its file in grades/."
    ]
    for each in outcomes:
        turns = zip((turn for turn in each.request.turns if turn.judged), each.judged, strict=True)
        for turn, (reply, verdict) in turns:
            if verdict.ungraded:
                lines += [
                    "",
                    *(f"# said: {earlier.said}" for earlier in each.replies),
                    f"# useful is: {turn.by_hand}",
                ]
                lines += ["[[grade]]", f"id = {_quoted(each.request.id)}", f"answer = {_quoted(reply.text)}"]
                lines += ["useful = false", 'why = ""']
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _quoted(text: str) -> str:
    """A basic string of TOML; JSON's escapes are also its."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
