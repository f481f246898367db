"""Every test leaves the process as it found it: no task, no thread, no blocked event loop."""

import asyncio
import gc
import inspect
import os
import threading
import time
import traceback
from asyncio.constants import DEBUG_STACK_DEPTH
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import Any, Final

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.support.blocked_loop import BLOCKED_SECONDS, BlockedLoop
from tests.support.clock import VirtualClockLoop
from tests.support.fake_hub import folder as folder
from tests.support.fake_hub import hub as hub
from tests.support.fake_portaudio import card as card
from tests.support.metronome import Metronome, queued_seconds
from tests.support.session_room import room as room

# Read whenever a loop is made: finds coroutines nobody awaits, and callbacks that block.
os.environ["PYTHONASYNCIODEBUG"] = "1"
# A future of its native code then remembers pytest's whole stack, and looks at each file of it; most is never
# shown. One in Python remembers so many frames.
setattr(traceback.extract_stack, "__defaults__", (None, DEBUG_STACK_DEPTH))  # noqa: B010 - as mypy wants it

_GRACE_SECONDS: Final = 3.0
"""For threads that have been told to end, such as aiortc's decoders."""
_LOOP_THREADS: Final = "asyncio_"
"""Name of the threads of a loop's own executor, which end with the loop."""
_METRONOME: Final = pytest.StashKey[Metronome]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--injections", help="the profile whose real model test_injection_models.py tries")
    parser.addoption("--fuzz", type=int, help="how many broken inputs of each kind the fuzzing tests try")
    parser.addoption("--fuzz-seed", type=int, default=20_261_122, help="for other ones than last time")
    parser.addoption(
        "--scenarios",
        type=int,
        help="how many random ones test_session_scenarios.py plays",
    )
    parser.addoption("--faults", type=int, help="try all faults, the random ones so often at each stage")


def pytest_configure(config: pytest.Config) -> None:
    # Both go by the clock, and would fail a test because the machine was slow.
    hypothesis_settings.register_profile(
        "localvoice", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    hypothesis_settings.load_profile("localvoice")
    config.addinivalue_line("markers", "virtual_clock: runs on an event loop whose clock jumps")
    config.addinivalue_line("markers", "elsewhere: what is tested has a process, and a loop, of its own")
    config.addinivalue_line("markers", "alone: measures a time across processes, with the machine for itself")
    config.addinivalue_line("markers", "faults: takes long, and runs only with --faults")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before any test, so that no test finds a process or a descriptor more than it began with."""
    session.config.stash[_METRONOME] = Metronome()


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[_METRONOME].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--faults") is None:
        left_out = [item for item in items if item.get_closest_marker("faults")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_clock"):
        return {"virtual": VirtualClockLoop}
    return {"real": asyncio.new_event_loop}


def pytest_collection_finish() -> None:
    """Keep what was imported out of later garbage collections, which would count as a blocked loop."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test whose code held up the event loop. Fixtures may: they load models."""
    blocked = BlockedLoop()
    with blocked.watching():
        result = yield
    elsewhere = item.get_closest_marker("e2e") or item.get_closest_marker("elsewhere")
    if elsewhere is None and (found := blocked.found(item.config.stash[_METRONOME])):
        pytest.fail("the event loop was blocked: " + "; ".join(found), pytrace=False)
    return result


@pytest.fixture(autouse=True)
def settings_of_this_machine_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own LOCALVOICE_… variables must not decide whether a test passes."""
    for name in os.environ:
        if name.startswith("LOCALVOICE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def stood_still(pytestconfig: pytest.Config) -> Callable[[float], float]:
    """For how many seconds the machine stood still since a time of the monotonic clock."""
    return lambda since: pytestconfig.stash[_METRONOME].stood_still(since, time.monotonic())


@pytest.fixture
def own_time(stood_still: Callable[[float], float]) -> Callable[[], Callable[[], float]]:
    """A stopwatch of this thread: called, it starts, and what it gives tells the seconds since then.

    Left out is what the thread waited for a core, and what the machine stood still.
    """

    def start() -> Callable[[], float]:
        begun, queued = time.monotonic(), queued_seconds()
        return lambda: time.monotonic() - begun - (queued_seconds() - queued) - stood_still(begun)

    return start


@pytest.fixture(autouse=True)
def no_leaked_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread behind."""
    if request.node.get_closest_marker("e2e") or _has_lasting_fixture(request.node):
        yield  # a browser's threads, or a model's that a whole module shares
        return
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + _GRACE_SECONDS
    while leaked := _new_threads(before):
        if time.monotonic() > deadline:
            pytest.fail("threads were left behind: " + ", ".join(leaked), pytrace=False)
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    """Fail an async test that leaves a task behind."""
    if inspect.iscoroutinefunction(request.function) and request.node.get_closest_marker("e2e") is None:
        request.getfixturevalue("_no_leaked_tasks")


@pytest.fixture
async def _no_leaked_tasks() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)  # pytest-asyncio's runner turns off what the environment says
    loop.slow_callback_duration = BLOCKED_SECONDS
    before = asyncio.all_tasks()
    yield
    for _ in range(20):  # a cancelled task needs a few turns of the loop, and no time
        await asyncio.sleep(0)
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    if leaked:
        pytest.fail("tasks were left behind: " + ", ".join(map(repr, leaked)), pytrace=False)


def _new_threads(before: set[threading.Thread]) -> list[str]:
    return [
        thread.name
        for thread in threading.enumerate()
        if thread not in before and not thread.name.startswith(_LOOP_THREADS)
    ]


def _has_lasting_fixture(item: pytest.Function) -> bool:
    """Whether a fixture of our own that outlives the test is in use."""
    return any(
        definition.scope != "function" and definition.baseid
        for definitions in item._fixtureinfo.name2fixturedefs.values()
        for definition in definitions
    )
