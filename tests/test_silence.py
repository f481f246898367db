"""The README's claim that nothing is sent: the real server under strace, from its start through a turn."""

import asyncio
import ipaddress
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from voice_client import voice_client

from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from localvoice.transports.candidates import host_addresses

pytestmark = pytest.mark.integration

ADDRESS = re.compile(r'inet_(?:addr|pton)\((?:AF_INET6?, )?"([^"]+)"')
PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
NAME_SERVICES = {53, 5353, 5355}
FOREIGN = "a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host"
HIDDEN = "a=candidate:2 1 udp 2113937151 3f6c1d5e-0000-4000-8000-000000000000.local 50001 typ host"


@pytest.fixture
def strace() -> str:
    path = shutil.which("strace")
    if path is None:
        pytest.skip("needs strace (Debian: apt install strace)")
    try:
        ready(load_catalog(), "tiny", models_folder())
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    return path


async def test_a_start_and_a_turn_reach_no_address_but_this_machines(strace: str, tmp_path: Path) -> None:
    trace, home = tmp_path / "trace.txt", tmp_path / "home"
    home.mkdir()
    # Without CI: onnxruntime hides its telemetry where it thinks that it is being tested.
    # What our own package sets when it is imported here must not reach the server from outside, either.
    left_out = ("CI", "ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    process = await asyncio.create_subprocess_exec(
        *(strace, "-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)),
        *(sys.executable, "-m", "localvoice.cli", "serve", "--profile", "tiny", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment
        | {"LOCALVOICE_AGENT_MAX_TOKENS": "20", "HOME": str(home), "XDG_CACHE_HOME": str(home)},
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            while (found := re.search(rb"http://\S+", await process.stdout.readline())) is None:
                pass
            async with voice_client(found[0].decode(), more_candidates=(FOREIGN, HIDDEN)) as client:
                await client.send({"type": "text", "text": "Hello."})
                await client.wait_for("tts-complete")
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # strace and the server: a dying strace would only let it go
        await asyncio.wait_for(process.communicate(), 20)
    lines = [line for line in trace.read_text().splitlines() if "AF_INET" in line or "inet_" in line]
    assert lines, "strace saw the server's own connections, or it saw nothing at all"
    assert [line for line in lines if not _stays_here(line)] == []
    # onnxruntime's telemetry looks names up only after a while, but lays down its database at once.
    assert list(home.rglob("*")) == [], "something was kept in the user's home"


def _stays_here(line: str) -> bool:
    own = host_addresses()
    for text in ADDRESS.findall(line):
        address = ipaddress.ip_address(text)
        if not (address.is_loopback or str(address) in own or address.is_unspecified):
            return False
    return not NAME_SERVICES & {int(port) for port in PORT.findall(line)}
