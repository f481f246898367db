"""Of a list of language models the first that can be had and is good is taken, whatever the hub does."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from localvoice.catalog import (
    DownloadError,
    Exam,
    Model,
    Profile,
    choose,
    download_choice,
    download_profile,
    list_models,
    load_catalog,
    network,
    ready,
    unexamined,
)
from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.exams import RECORD_NAME, ExamPart, keep_exam, past_exam
from localvoice.config import Settings
from tests.support.fake_hub import FakeHub
from tests.support.small_catalog import add_to_hub, add_to_index, put_models, small_catalog

NAMES = ["newest", "newer", "old"]
PASSED = ExamPart(name="loads", passed=True, told="in 1 s")
FAILED = ExamPart(name="answers in words", passed=False, told="it said nothing")


@pytest.fixture
def catalog() -> Catalog:
    """Profile large prefers two models of the hub to an old one, which is in a package, too."""
    return small_catalog({"large": NAMES}, verified=["old"])


class Exams:
    """Examines by a list of those that fail."""

    def __init__(self, folder: Path) -> None:
        self.failing: set[str] = set()
        self.held: list[str] = []
        self._folder = folder

    def __call__(self, model: Model, _: Profile) -> Exam:
        self.held.append(model.name)
        return keep_exam(model, self._folder, [FAILED if model.name in self.failing else PASSED])


@pytest.fixture
def exams(folder: Path) -> Exams:
    return Exams(folder)


@pytest.fixture
def bring(catalog: Catalog, folder: Path, exams: Exams) -> Callable[[], tuple[str, str]]:
    """Downloads the profile; gives the model that a start takes then, and what was said."""

    def brought() -> tuple[str, str]:
        shown = io.StringIO()
        download_profile(catalog, "large", folder, Console(file=shown, width=300), exams)
        return ready(catalog, "large", folder).profile.llm, shown.getvalue()

    return brought


def test_the_hub_is_up(
    hub: FakeHub, catalog: Catalog, exams: Exams, bring: Callable[[], tuple[str, str]]
) -> None:
    add_to_hub(hub, catalog, "large")
    taken, said = bring()
    assert taken == "newest" and "newest has passed its exam." in said
    assert not [each for each in hub.requests if "newer" in each.path or "old" in each.path]
    hub.requests.clear()
    bring()
    assert (exams.held, hub.requests) == (["newest"], []), "once, and nothing is asked again"


INDEX = ("/simple", "/files")


def silent(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(path: str) -> None:
        if not path.startswith(INDEX):
            hub.let_go.wait(20)

    monkeypatch.setattr(network, "ANSWER_SECONDS", 0.4)
    hub.on_request = wait


def busy(hub: FakeHub, _: pytest.MonkeyPatch) -> None:
    hub.on_request = lambda path: None if path.startswith(INDEX) else hub.status.update({path: 503})


def closed(_: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.2:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,127.0.0.2,localhost")


@pytest.mark.parametrize(
    ("trouble", "asked", "told"),
    [
        pytest.param(silent, 1, "no answer from 127.0.0.1", id="says nothing"),
        pytest.param(busy, 3, "503 Service Unavailable, 2 retries were in vain", id="refuses all"),
        pytest.param(closed, 0, "no connection to 127.0.0.2", id="takes no connection"),
    ],
)
def test_a_hub_out_of_reach_costs_its_time_once(
    trouble: Callable[[FakeHub, pytest.MonkeyPatch], None],
    asked: int,
    told: str,
    hub: FakeHub,
    catalog: Catalog,
    folder: Path,
    bring: Callable[[], tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also for the files of the other models, several of which are asked for at the same time."""
    monkeypatch.setattr("localvoice.catalog.download.BACKOFF_SECONDS", 0.001)
    add_to_index(hub, catalog, "large")
    trouble(hub, monkeypatch)
    taken, said = bring()
    assert taken == "old" and said.count(told) == 1, "told once"
    to_the_hub = [each for each in hub.requests if not each.path.startswith(INDEX)]
    at_once = 4
    assert len(to_the_hub) <= asked * at_once, "no more than one for each that begins at the same time"
    assert not [each for each in to_the_hub if "newe" in each.path or "old" in each.path]
    assert not list(folder.rglob("*.part*")), "nothing is left half-done"


def test_the_time_for_an_answer_begins_with_the_first_request(
    hub: FakeHub, catalog: Catalog, bring: Callable[[], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_to_index(hub, catalog, "large")
    silent(hub, monkeypatch)
    begun = time.monotonic()
    bring()
    assert time.monotonic() - begun < 10, "and not with each of nine files"


def test_a_slow_hub_is_waited_for(
    hub: FakeHub, catalog: Catalog, bring: Callable[[], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_to_hub(hub, catalog, "large")
    hub.on_request = lambda path: time.sleep(0.1)
    assert bring()[0] == "newest"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param(None, "answers 404", id="the file is gone"),
        pytest.param(b"the Bytes of newest/mind.gguf", "wrong SHA-256", id="other bytes"),
    ],
)
def test_a_file_that_cannot_be_had_leaves_the_next(
    data: bytes | None,
    told: str,
    hub: FakeHub,
    catalog: Catalog,
    folder: Path,
    bring: Callable[[], tuple[str, str]],
) -> None:
    add_to_hub(hub, catalog, "large")
    path = "/me/newest/resolve/main/mind.gguf"
    if data is None:
        hub.status[path] = 404
    else:
        hub.add_file("me/newest", "mind.gguf", data, large=False)
    taken, said = bring()
    assert taken == "newer" and told in said and "newest can't be had now" in said
    assert not list(folder.glob("newest/*"))


def test_a_model_that_fails_its_exam_leaves_the_next(
    hub: FakeHub, catalog: Catalog, exams: Exams, bring: Callable[[], tuple[str, str]]
) -> None:
    add_to_hub(hub, catalog, "large")
    exams.failing = {"newest"}
    taken, said = bring()
    assert taken == "newer" and "newest has failed its exam (answers in words: it said nothing)" in said
    assert "models exam newest" in said and "--llm newest" in said
    exams.failing = {"newest", "newer"}
    taken, _ = bring()
    assert (taken, exams.held) == ("newer", ["newest", "newer"]), "a passed exam isn't held again"


def test_where_no_model_passes_that_is_told(hub: FakeHub, folder: Path, exams: Exams) -> None:
    catalog = small_catalog({"large": ["newest", "newer"]})
    add_to_hub(hub, catalog, "large")
    exams.failing = {"newest", "newer"}
    with pytest.raises(DownloadError, match="None of the language models may be taken"):
        download_profile(catalog, "large", folder, Console(quiet=True), exams)


def test_what_is_here_is_taken_and_the_preferred_one_is_named(
    hub: FakeHub, catalog: Catalog, folder: Path, bring: Callable[[], tuple[str, str]]
) -> None:
    add_to_hub(hub, catalog, "large")
    put_models(catalog, "large", folder)
    for name in ("newest", "newer"):
        (folder / name / "mind.gguf").unlink()
    taken, said = bring()
    assert taken == "old" and hub.requests == []
    assert "models download --profile large --llm newest" in said
    keep_exam(catalog.models["newest"], folder, [FAILED])
    assert "prefers newer: `localvoice models download --profile large --llm newer`" in bring()[1]
    keep_exam(catalog.models["newer"], folder, [FAILED])
    assert "prefers" not in bring()[1]


def test_what_is_here_is_examined_before_another_is_looked_for(
    hub: FakeHub, catalog: Catalog, folder: Path, exams: Exams, bring: Callable[[], tuple[str, str]]
) -> None:
    """A new version asks for another exam, and not for another model."""
    add_to_hub(hub, catalog, "large")
    put_models(catalog, "large", folder)
    for name in ("newest", "old"):
        (folder / name / "mind.gguf").unlink()
    taken, said = bring()
    assert (taken, exams.held, hub.requests) == ("newer", ["newer"], []) and "prefers" not in said


def test_a_named_model_is_taken_whatever_its_exam_says(
    hub: FakeHub, catalog: Catalog, folder: Path, exams: Exams
) -> None:
    add_to_hub(hub, catalog, "large")
    exams.failing = {"newest"}
    choice = choose(catalog, Settings(profile="large", llm="newest"))
    shown = io.StringIO()
    download_choice(catalog, choice, folder, Console(file=shown, width=300), exams)
    assert exams.held == ["newest"] and "newest has failed its exam" in shown.getvalue()
    assert ready(catalog, choice.profiles[0], folder).profile.llm == "newest"


def test_what_has_no_exam_is_not_taken_by_a_start(catalog: Catalog, folder: Path) -> None:
    """Such as after a new version of the library: the start holds it then."""
    put_models(catalog, "large", folder)
    assert ready(catalog, "large", folder).profile.llm == "old"
    profile = catalog.profile("large")
    assert [each.name for each in unexamined(catalog, profile, folder)] == ["newest", "newer"]
    keep_exam(catalog.models["newest"], folder, [FAILED])
    assert [each.name for each in unexamined(catalog, profile, folder)] == ["newer"]
    keep_exam(catalog.models["newer"], folder, [PASSED])
    assert unexamined(catalog, profile, folder) == []
    assert ready(catalog, "large", folder).profile.llm == "newer"


def test_an_exam_is_of_one_file_one_version_and_one_machine(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_models(catalog, "large", folder)
    model = catalog.models["newest"]
    held = keep_exam(model, folder, [PASSED, FAILED])
    assert past_exam(model, folder) == held and not held.passed
    assert held.reason == "answers in words: it said nothing"
    with monkeypatch.context() as changed:
        changed.setattr("localvoice.catalog.exams.__version__", "99")
        assert past_exam(model, folder) is None
    with monkeypatch.context() as changed:
        changed.setattr("importlib.metadata.version", lambda _: "99")
        assert past_exam(model, folder) is None
    with monkeypatch.context() as changed:
        changed.setattr("localvoice.catalog.exams.available_cores", lambda: 99)
        assert past_exam(model, folder) is None
    with monkeypatch.context() as changed:
        changed.setattr("localvoice.catalog.exams.free_memory", lambda: 2 * held.free_mb * 10**6)
        assert past_exam(model, folder) is None, "other programs had the memory"
    other = model.files[0].model_copy(update={"sha256": "0" * 64})
    assert past_exam(model.model_copy(update={"files": (other,)}), folder) is None
    (folder / "newest" / RECORD_NAME).write_text('{"parts": [')
    assert past_exam(model, folder) is None


def test_the_list_of_models_tells_of_exams_and_of_sizes_that_are_not_known(
    catalog: Catalog, folder: Path
) -> None:
    put_models(catalog, "large", folder)
    keep_exam(catalog.models["newest"], folder, [FAILED])
    keep_exam(catalog.models["newer"], folder, [PASSED])
    shown = io.StringIO()
    list_models(catalog, folder, Console(file=shown, width=250))
    rows = {name: row for row in shown.getvalue().splitlines() for name in NAMES if f" {name} " in row}
    assert "by a download, failed its exam)" in rows["newest"]
    assert "by a download, passed its exam)" in rows["newer"]
    assert "verified" not in rows["old"] and "large" in rows["old"]
    list_models(load_catalog(), folder, Console(file=shown, width=250))
    row = next(row for row in shown.getvalue().splitlines() if " qwen3.5-2b " in row)
    assert "not known" in row and "quality" in row
