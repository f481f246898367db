"""The exam of a language model: what a voice can read, and how a process ends that crashes or hangs."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localvoice import cli
from localvoice.catalog import ModelFilesError, load_catalog, models_folder
from localvoice.catalog.exams import RECORD_NAME, ExamPart, past_exam
from localvoice.config import Settings
from localvoice.process import exam
from localvoice.process.exam import PART_NAMES, hold_exam
from localvoice.process.examining import fault_in_words
from tests.support.small_catalog import put_models, small_catalog

TINY = "smollm2-135m-instruct"


@pytest.mark.parametrize(
    "text", ["The capital of France is Paris.", "5.", "It's 2 + 3 = 5!", "Seven days.", "Well, well, well."]
)
def test_what_a_voice_can_read(text: str) -> None:
    assert fault_in_words(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (" \n", "said nothing"),
        ("<think>The user asks", "the mark <think>"),
        ("Paris.<|im_end|>", "the mark <|im_end|>"),
        ("[INST] Paris", r"the mark \[INST\]"),
        ("[THINK]Paris", r"the mark \[THINK\]"),
        ("◁think▷Paris", "the mark ◁"),
        ("<|channel", r"the mark <\|"),
        ("{}()[]#### == ;;", "wrote no words"),
        ("yes yes yes yes yes yes yes", "repeats itself"),
        (
            "I can tell you that. I can tell you that. I can tell you that. I can tell you that. ",
            "repeats itself",
        ),
    ],
)
def test_what_no_voice_can_read(text: str, told: str) -> None:
    assert re.search(told, fault_in_words(text) or "")


class Room:
    """The files of a model, and a program that runs instead of the exam."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        catalog = small_catalog()
        put_models(catalog, "large", folder)
        self.model, self.profile = catalog.models["large-llm"], catalog.profile("large")

    async def held(self, program: str) -> list[ExamPart]:
        begin = (
            "import os, time\nfrom localvoice.process.trial import begin_trial\nanswers, _ = begin_trial()\n"
        )
        (self.folder / "stand_in.py").write_text(f"{begin}{program}\nos._exit(3)\n")
        found = await hold_exam(self.model, self.profile, self.folder, Settings(device="cpu"))
        assert past_exam(self.model, self.folder) == found, "it is remembered"
        return list(found.parts)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(exam, "_ROOM", "stand_in")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Room(tmp_path)


def passed(*names: str) -> str:
    """A program that answers so many parts."""
    lines = [ExamPart(name=name, passed=True, told="well").model_dump_json() for name in names]
    return "".join(f"print({line!r}, file=answers)\n" for line in lines)


async def test_all_parts_are_passed(room: Room) -> None:
    assert [part.name for part in await room.held(passed(*PART_NAMES))] == list(PART_NAMES)
    assert (room.folder / "large-llm" / RECORD_NAME).is_file()


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("os.kill(os.getpid(), 11)", "ended the process that did it (signal SIGSEGV)"),
        ("os._exit(9)", "ended the process that did it (exit code 9)"),
        ("print('{', file=answers)", "ended in an answer that can't be read"),
        ("print('x' * 200_000, file=answers)", "ended in an answer that can't be read"),
    ],
)
async def test_a_process_that_breaks_off_fails_the_part_that_it_was_at(
    ending: str, told: str, room: Room
) -> None:
    *before, last = await room.held(passed(*PART_NAMES[:3]) + ending)
    assert len(before) == 3 and all(part.passed for part in before)
    assert last == ExamPart(name=PART_NAMES[3], passed=False, told=told)


async def test_a_process_that_hangs_is_ended(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exam, "_PART_SECONDS", 1.0)
    monkeypatch.setattr(exam, "_BYTES_A_SECOND", 1.0)  # so that there is time for the first part
    parts = await room.held(passed("loads") + "time.sleep(60)")
    assert [part.passed for part in parts] == [True, False] and "had not ended after 1 s" in parts[1].told


async def test_without_a_template_no_more_is_asked(room: Room) -> None:
    failed = ExamPart(name=PART_NAMES[1], passed=False, told="no").model_dump_json()
    parts = await room.held(passed("loads") + f"print({failed!r}, file=answers)")
    assert [part.passed for part in parts] == [True, False]


async def test_a_damaged_file_is_not_examined(room: Room) -> None:
    (room.folder / "large-llm" / "mind.gguf").write_bytes(b"other")
    with pytest.raises(ModelFilesError, match="can't be examined: .*models download --llm large-llm"):
        await room.held("")


def test_an_unknown_model_is_told_with_those_that_there_are() -> None:
    error = CliRunner().invoke(cli.app, ["models", "exam", "gpt"]).exception
    assert "There is no language model 'gpt'. There are: " in str(error)


@pytest.mark.integration
def test_the_smallest_model_is_examined_and_its_exam_shown(tmp_path: Path) -> None:
    """It fails, as it calls no tool: it is verified, so nothing asks it to pass."""
    source = models_folder() / TINY
    if not source.is_dir():
        pytest.skip("needs the models of the tiny profile: make download-models PROFILE=tiny")
    (tmp_path / TINY).mkdir()
    for file in load_catalog().models[TINY].files:
        (tmp_path / TINY / file.name).hardlink_to(source / file.name)
    words = ["models", "exam", TINY, "--models-dir", str(tmp_path)]
    done = CliRunner().invoke(cli.app, words, env={"COLUMNS": "200"})
    held = past_exam(load_catalog().models[TINY], tmp_path)
    assert held is not None
    outcome = {part.name: part.passed for part in held.parts}
    assert list(outcome) == list(PART_NAMES)
    assert outcome["loads"] and outcome["fills in its template"] and outcome["keeps to memory"]
    assert done.exit_code == (0 if held.passed else 1)
