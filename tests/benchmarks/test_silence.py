"""The README's claim that nothing is sent: the server under strace, in a network of its own and in ours."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import localvoice
from benchmarks.offline import SET_BY_OURSELVES, Sighting, sight
from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from tests.support.loopback import NotPossible, loopback_only

Look = Callable[[list[str]], Sighting]


@pytest.fixture
def look() -> Look:
    """Watches a server of the tiny profile for two turns, one of them spoken."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace (Debian: apt install strace)")
    try:
        ready(load_catalog(), "tiny", models_folder())
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    return lambda prefix: sight(prefix, "tiny", spoken_turns=1)


def expect_silence(seen: Sighting) -> None:
    assert seen.calls.findings == ()
    # onnxruntime's telemetry looks names up only after a while, but lays down its database at once.
    assert seen.kept == []
    assert [bool(turn.answered) for turn in seen.turns] == [True, True]
    assert "capital" in seen.turns[1].asked


@pytest.mark.integration
def test_with_the_loopback_alone_it_converses_and_asks_nobody(look: Look) -> None:
    try:
        prefix = loopback_only()
    except NotPossible as reason:
        pytest.skip(str(reason))
    seen = look(prefix)
    expect_silence(seen)
    assert seen.voice == "WebSocket"
    assert seen.calls.addresses.keys() <= {"127.0.0.1", "::1", "kernel (netlink)"}


@pytest.mark.integration
def test_where_there_is_a_network_it_is_left_alone(look: Look) -> None:
    expect_silence(look([]))


def test_nothing_that_the_package_sets_reaches_the_watched_server_from_outside() -> None:
    names = set()
    for file in Path(localvoice.__file__).parent.rglob("*.py"):
        text = file.read_text("utf-8")
        constants = dict(re.findall(r'^(\w+): Final = "(\w+)"$', text, re.MULTILINE))
        for name in re.findall(r'os\.environ(?:\[|\.setdefault\()("?\w+)', text):
            names.add(name[1:] if name.startswith('"') else constants[name])
    assert names
    assert set(names) == set(SET_BY_OURSELVES)
