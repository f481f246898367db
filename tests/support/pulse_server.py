"""A PulseAudio of the test's own, whose null sinks PortAudio takes for sound devices."""

import importlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

# Without rewinds, a null sink sleeps for 50 ms at a time, and not for 2 s.
NULL_SINK: Final = "module-null-sink norewinds=1 rate=48000"
SERVER: Final = (
    *("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-level=error"),
    *("--high-priority=no", "--realtime=no", "--disable-shm=yes"),
    f"--load={NULL_SINK} sink_name=mic channels=1",
    f"--load={NULL_SINK} sink_name=phones channels=2",
)
# Nothing of the machine's own configuration is included, so its sound cards are not touched. There must be a
# "default": without one, PortAudio 19.6 aborts the process.
ALSA: Final = """
pcm.default {{ type pulse server "unix:{socket}" }}
pcm.localvoice_microphone {{ type pulse server "unix:{socket}" device "mic.monitor" }}
pcm.localvoice_headphones {{ type pulse server "unix:{socket}" device "phones" }}
pcm.localvoice_loopback {{ type pulse server "unix:{socket}" device "phones.monitor" }}
"""


class SoundServer:
    """A PulseAudio that dies with the test."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "socket"
        self._log = folder / "log"
        own = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH")
        self.environment = {**os.environ, **dict.fromkeys(own, str(folder))}
        self.environment["PULSE_SERVER"] = f"unix:{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        socket = f"--load=module-native-protocol-unix auth-anonymous=1 socket={self.socket}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([*SERVER, socket], env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while "phones" not in self._sinks():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"PulseAudio did not start: {self._log.read_text(errors='replace')}")
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.socket.unlink(missing_ok=True)

    def _sinks(self) -> str:
        asked = subprocess.run(
            ["pactl", "list", "short", "sinks"], env=self.environment, capture_output=True, text=True
        )
        return asked.stdout


def what_is_missing() -> str | None:
    """What this machine lacks to make a sound card out of nothing."""
    for program in ("pulseaudio", "pactl", "pacat"):
        if shutil.which(program) is None:
            return f"{program} (Debian: pulseaudio, pulseaudio-utils)"
    if not any(Path("/").glob("usr/lib*/**/alsa-lib/libasound_module_pcm_pulse.so")):
        return "ALSA's pulse plugin (Debian: libasound2-plugins)"
    try:
        import sounddevice  # noqa: F401
    except OSError:
        return "PortAudio (Debian: libportaudio2)"
    return None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    """The sound server, and a PortAudio that sees its devices and no others."""
    if missing := what_is_missing():
        pytest.skip(f"this needs {missing}")
    sounddevice: Any = importlib.import_module("sounddevice")

    # Not pytest's folder: the path of a socket is limited to 107 characters.
    with tempfile.TemporaryDirectory(prefix="localvoice") as name:
        sound_server = SoundServer(Path(name))
        configuration = Path(name) / "asound.conf"
        configuration.write_text(ALSA.format(socket=sound_server.socket))
        try:
            sound_server.start()
            with monkeypatch.context() as environment:
                environment.setenv("ALSA_CONFIG_PATH", str(configuration))
                sounddevice._terminate()
                sounddevice._initialize()
                yield sound_server
            sounddevice._terminate()
            sounddevice._initialize()
        finally:
            sound_server.kill()
