"""The runner of the suite, with the real models of the tiny profile."""

import json
from pathlib import Path

import pytest

from benchmarks import mind
from tests.support.tiny_engines import need_files


@pytest.mark.integration
def test_three_entries_are_asked_graded_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_files()
    asked = ["capital-australia", "timer-no-fifteen", "tell-joke"]
    mind.main("tiny", only=asked, ungraded=tmp_path / "ungraded.toml", out=tmp_path)
    (file,) = tmp_path.glob("*.json")
    written = json.loads(file.read_text())
    assert written["figures"]["all"]["n"] == 3
    answers = {each["id"]: each["replies"] for each in written["answers"]}
    assert {name: len(replies) for name, replies in answers.items()} == dict(
        zip(asked, (1, 2, 1), strict=True)
    )
    for reply in (reply for replies in answers.values() for reply in replies):
        assert reply["errors"] == []
        assert not reply["text"] or 0 < reply["first_ms"] <= reply["end_ms"]
    assert "tuning · profile tiny" in capsys.readouterr().out
