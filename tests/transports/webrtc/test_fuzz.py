"""Thousands of broken messages and offers: each gets one error at most, soon, and nothing else happens.

None keeps the event loop for long, whatever it costs its sender, or takes much memory for a moment.

`make prove WHAT=fuzz` runs 100,000 of each kind, and other ones with ARGS="--fuzz-seed 2". A failure names
the seed and the number that it happened at.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from tests.support.fakes import FakeLlm, FakeStt, FakeTts, fake_engines
from tests.support.large_messages import any_large_message
from tests.support.memory import resident_mb
from tests.support.metronome import queued_seconds
from tests.support.mutations import mutated_lines, mutated_message
from tests.support.server_site import Client, serving
from tests.support.stalls import STALL_SECONDS, measured
from tests.support.webrtc_browser import needs_a_network
from tests.support.wrong_messages import GOOD


class Limits(NamedTuple):
    """What is borne of an attack."""

    error_ms: float = 50
    """Until the error comes."""
    growth_mb: float = 5
    """Of the process, once it has all that it keeps."""


OF_LARGE: Final = Limits(error_ms=300, growth_mb=50)
"""Both ends handle megabytes, and the allocator keeps some of the room for the next ones."""
LATE: Final = 0.002
"""Of the errors may take longer: this process isn't alone on its machine."""
PEAK_MB: Final = 100
"""Both ends are in this process: each holds a message of 4 MiB some times."""
UNLIMITED: Final = {
    "limits": {
        "messages_per_second": 10**6,
        "message_burst": 10**9,
        "turns_per_minute": 10**9,
        "megabytes_per_second": 10**6,
    }
}


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How many to try: what `--fuzz` says, or some for a quick run."""
    asked = request.config.getoption("--fuzz")
    return lambda some: int(asked) if asked else some


async def offer() -> str:
    """What a client of WebRTC offers: sound and a data channel, with its candidates."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        connection.createDataChannel("data")
        connection.addTransceiver("audio")
        await connection.setLocalDescription(await connection.createOffer())
        return str(connection.localDescription.sdp)
    finally:
        await connection.close()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What is broken, and how, goes by this."""
    return int(request.config.getoption("--fuzz-seed"))


class Attack:
    """Sends one broken thing after the other on one connection, and watches what comes back."""

    def __init__(self, client: Client, what: str, seed: int) -> None:
        self._client = client
        self._what = f"{what} of seed {seed}, number"
        self._number = 0
        self._connecting = 0
        """Offers that were answered. One error may come of each later on: that its sender isn't reached."""
        self.error_ms: list[float] = []

    async def send(self, text: str) -> None:
        """Send it, and wait until the server has dealt with it."""
        self._number += 1
        sync = 0.5 + self._number  # no timestamp of a mutated ping
        begun, queued = time.perf_counter(), queued_seconds()
        await self._client.socket.send_str(text.encode("utf-8", "replace").decode())
        await self._client.socket.send_json({"type": "ping", "timestamp": sync})
        errors = 0
        where = f"{self._what} {self._number}: {text[:2_000]!r}"
        try:
            async with asyncio.timeout(10):
                while (message := await self._client.socket.receive_json()) != {
                    "type": "pong",
                    "timestamp": sync,
                }:
                    self._connecting += message["type"] == "signal"
                    if message["type"] == "error" and "no network path" in message["message"]:
                        self._connecting -= 1
                        assert self._connecting >= 0, where
                    elif message["type"] == "error":
                        errors += 1
                        # On a busy machine both sides wait for a core, through no fault of the server's.
                        waited = queued_seconds() - queued
                        self.error_ms.append(1000 * (time.perf_counter() - begun - waited))
                        assert message["code"] != "INTERNAL_ERROR", where
        except (TimeoutError, TypeError) as error:
            raise AssertionError(f"no answer any more after {where}") from error
        assert errors <= 1, where

    def verdict(self, error_ms: float) -> None:
        """Nearly all errors came soon."""
        late = [ms for ms in self.error_ms if ms > error_ms]
        assert self.error_ms, "nothing was broken"
        assert len(late) <= max(1, LATE * len(self.error_ms)), (
            f"{len(late)} errors were late: {sorted(late)[-5:]} ms"
        )


async def attack(
    count: int,
    what: str,
    seed: int,
    make: Callable[[Random], str],
    caplog: pytest.LogCaptureFixture,
    limits: Limits = Limits(),  # noqa: B008 - it is a tuple
) -> None:
    random = Random(seed)
    caplog.set_level(logging.ERROR)  # what was foreseen is a warning; all of them would fill the memory
    stt, llm, tts = FakeStt(), FakeLlm(), FakeTts()
    async with serving(fake_engines(stt, llm, tts), UNLIMITED) as site, site.client() as client:
        attacker = Attack(client, what, seed)
        grown = 0.0
        with measured() as cost:
            for number in range(count):
                if number == count // 5:
                    grown = resident_mb()  # what is kept once is there by now
                await attacker.send(make(random))
                for kept in (stt.heard, llm.asked, llm.offers, llm.asides, llm.prepared, tts.said):
                    kept.clear()  # the test's own memory
        assert cost.stall <= STALL_SECONDS and cost.memory_mb <= PEAK_MB, str(cost)
        assert resident_mb() - grown <= limits.growth_mb
        attacker.verdict(limits.error_ms)
        async with site.client() as other:
            await other.send("text", text="Hi.")
            await other.expect("tts-complete")
        await site.until_connections(1)
        assert await site.counts() == (1, 2)
    assert not caplog.records, "something unforeseen happened"
    await asyncio.sleep(0.2)  # a connection that was closed amid its checks is done with them after 20 ms


async def test_messages(times: Callable[[int], int], seed: int, caplog: pytest.LogCaptureFixture) -> None:
    kinds = [{"type": kind, **fields} for kind, fields in GOOD.items() if kind not in ("offer", "signal")]
    await attack(
        times(1_000), "message", seed, lambda random: mutated_message(random.choice(kinds), random), caplog
    )


async def test_large_messages(
    times: Callable[[int], int], seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    count = max(30, times(3_000) // 100)
    await attack(count, "large message", seed, any_large_message, caplog, OF_LARGE)


@needs_a_network
@pytest.mark.parametrize("only", ["", "a=candidate:"], ids=["sdp", "candidates"])
async def test_offers(
    times: Callable[[int], int], seed: int, caplog: pytest.LogCaptureFixture, only: str
) -> None:
    good = await offer()

    def make(random: Random) -> str:
        broken: dict[str, Any] = {"type": "offer", "sdp": mutated_lines(good, random, only)}
        return json.dumps({"type": "offer", "signal": broken})

    await attack(times(60), "offer", seed, make, caplog)
