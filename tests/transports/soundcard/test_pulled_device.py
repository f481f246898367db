"""The sound device is pulled under the real PortAudio and ALSA: told, waited for, and gone on with."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from contextlib import AbstractAsyncContextManager
from ctypes.util import find_library
from pathlib import Path

import pytest

from tests.support.folders import ROOT, SUPPORT
from tests.support.processes import python_process

DEVICE = "pcm.!default { type null }\nctl.!default { type null }\n"


class Plug:
    """The plug of a child's only sound device."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if sys.platform != "linux" or compiler is None or find_library("portaudio") is None:
            pytest.skip("needs Linux, a C compiler and PortAudio, to pull a device under it")
        (folder / ".asoundrc").write_text(DEVICE)
        self._flag, library = folder / "pulled", folder / "shim.so"
        self._flag.write_text("0")
        source = SUPPORT / "alsa_shim.c"
        subprocess.run([compiler, "-shared", "-fPIC", "-O", str(source), "-o", str(library)], check=True)
        self.environment = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LD_PRELOAD": str(library),
            "DEVICE_PULLED": str(self._flag),
        }

    def set(self, pulled: bool) -> None:
        with self._flag.open("r+") as file:  # the same file: it is mapped
            file.write("01"[pulled])


@pytest.fixture
def plug(tmp_path: Path) -> Plug:
    return Plug(tmp_path)


def talk(plug: Plug) -> AbstractAsyncContextManager[Process]:
    script = SUPPORT / "pulled_device_talk.py"
    return python_process(str(script), stdout=PIPE, stderr=STDOUT, env=plug.environment)


async def says(process: Process, words: str) -> None:
    """Read its output up to a line with these words."""
    assert process.stdout is not None
    read: list[str] = []
    try:
        async with asyncio.timeout(20):
            while not read or words not in read[-1]:
                line = await process.stdout.readline()
                assert line, f"it ended: {read}"
                read.append(line.decode())
    except TimeoutError:
        pytest.fail(f'no "{words}" in {read}')


async def test_a_pulled_device_is_waited_for_and_ending_is_quick(plug: Plug) -> None:
    async with talk(plug) as process:
        await says(process, "Talk. Ctrl-C ends it.")
        await asyncio.sleep(0.5)
        plug.set(True)
        await says(process, 'The sound stopped: no answer from "default"')
        await says(process, "Not back yet.")
        plug.set(False)
        await says(process, 'The sound is back: "default" and "default".')
        plug.set(True)  # and again
        await says(process, "The sound stopped")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            await says(process, "ended")
            await process.wait()


async def test_no_device_at_the_start_is_one_sentence(plug: Plug) -> None:
    plug.set(True)
    async with talk(plug) as process:
        await says(process, "AUDIO_PROCESSING_ERROR: There is no microphone on this machine. Connect one")
        assert await process.wait() == 1
