"""A cable that is pulled: nothing passes any more between two machines, here network namespaces."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.folders import ROOT, SUPPORT

SERVER, CLIENT = "localvoice-server", "localvoice-client"
GIVEN_UP_SECONDS = 10.0

pytestmark = [
    pytest.mark.elsewhere,
    pytest.mark.faults,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make networks"),
]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def cable() -> Iterator[None]:
    """Two machines and a cable."""
    try:
        for name in (SERVER, CLIENT):
            ip("netns", "add", name)
        ip(*"link add server type veth peer name client".split(), "netns", CLIENT)
        ip("link", "set", "server", "netns", SERVER)
        for name, link, address in ((SERVER, "server", "10.77.0.1/24"), (CLIENT, "client", "10.77.0.2/24")):
            ip("-n", name, "addr", "add", address, "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine can't make networks: {error}")
    finally:
        for name in (SERVER, CLIENT):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


async def on(machine: str, *command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", machine, sys.executable, *command),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def connections() -> int:
    """How many the server's kernel has."""
    command = f"ip netns exec {SERVER} ss -Htn state established".split()
    return len(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())


async def test_a_client_whose_cable_is_pulled_is_given_up(cable: None, tmp_path: Path) -> None:
    processes: list[asyncio.subprocess.Process] = []
    try:
        processes.append(await on(SERVER, str(SUPPORT / "fake_server.py"), "--lan", str(tmp_path)))
        assert processes[0].stdout is not None
        link = (await processes[0].stdout.readline()).decode().strip()
        processes.append(await on(CLIENT, str(SUPPORT / "cable_client.py"), link))
        assert processes[1].stdout is not None
        async with asyncio.timeout(30):
            assert await processes[1].stdout.readline() == b"heard\n"
        assert connections() == 1
        ip("-n", CLIENT, "link", "set", "client", "down")
        pulled = asyncio.get_running_loop().time()
        async with asyncio.timeout(40):
            while await asyncio.to_thread(connections):  # noqa: ASYNC110 - it is another process that gives up
                await asyncio.sleep(0.1)
        took = asyncio.get_running_loop().time() - pulled
        assert took <= GIVEN_UP_SECONDS + 5, "the kernel looks when it sends again"
        print(f"a cable was pulled: given up after {took:.1f} s")
    finally:
        for process in processes:
            process.kill()
            await process.wait()
