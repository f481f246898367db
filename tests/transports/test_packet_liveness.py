"""Clients over WebRTC that vanish, killed or without a word; and some that only send no sound, and stay."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from localvoice.application.hooks import Hooks
from tests.support.fakes import until
from tests.support.folders import ROOT, SUPPORT
from tests.support.processes import python_process
from tests.support.server_site import Site, serving
from tests.support.turn_stages import GROUPS, Cast, reply_to
from tests.support.webrtc_browser import calling, needs_a_network

GONE_SECONDS = 5.0
LOOK_SECONDS = 0.5
CANCELLED_SECONDS = 0.25


@asynccontextmanager
async def client_process(site: Site) -> AsyncIterator[tuple[Process, str]]:
    """A client in a process of its own that hears the agent, and its session."""
    paths = os.environ | {"PYTHONPATH": str(ROOT)}
    script = SUPPORT / "vanishing_client.py"
    async with python_process(str(script), site.url, stdout=PIPE, env=paths) as process:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            yield process, (await process.stdout.readline()).decode().strip()


@pytest.mark.faults
@needs_a_network
async def test_a_client_that_is_killed() -> None:
    cast, gone = Cast(), list[str]()
    hooks = Hooks(on_disconnect=lambda session, _: gone.append(session))
    async with serving(cast.engines, GROUPS, {"hooks": hooks}) as site:
        async with client_process(site) as (process, session):
            now = asyncio.get_running_loop().time
            killed = now()
            process.kill()
            await until(lambda: gone == [session])
            assert now() - killed < 2 * CANCELLED_SECONDS  # with the end of the process itself


@needs_a_network
async def test_one_that_vanishes_without_a_word_is_gone_and_one_without_sound_is_not() -> None:
    """A process that is stopped is as silent as one whose cable was pulled: its kernel keeps the socket."""
    cast, gone = Cast(), list[str]()
    hooks = Hooks(on_disconnect=lambda session, _: gone.append(session))
    now = asyncio.get_running_loop().time
    async with serving(cast.engines, GROUPS, {"hooks": hooks}) as site:
        async with (
            client_process(site) as (process, session),
            site.client() as mute,
            calling(mute) as microphone_gone,
            site.client() as typing,
            calling(typing) as without_microphone,
        ):
            await without_microphone.connect()
            await microphone_gone.connect()
            await microphone_gone.add_microphone()
            await asyncio.sleep(0.5)
            for sender in microphone_gone.connection.getSenders():
                sender.replaceTrack(None)
            process.send_signal(signal.SIGSTOP)
            stopped = now()
            await until(lambda: bool(gone), 15)
            assert GONE_SECONDS - LOOK_SECONDS <= now() - stopped <= GONE_SECONDS + 3 * LOOK_SECONDS + 1
            await asyncio.sleep(2.5)
            assert gone == [session], "the others stay"
            async with site.client() as again:
                await again.send("reconnect", sessionId=session)
                assert (await again.expect("reconnect-ack"))["historyRecovered"] is True
                await again.send("text", text="check 2.")
                await again.expect("llm")
    kept = cast.llm.asked[-1][-2].content
    assert kept and reply_to("playing", "1").startswith(kept.rstrip(".")), "history keeps what was heard"
