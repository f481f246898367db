"""Which sound devices there are, and which of them is chosen."""

import importlib.abc
import sys
from collections.abc import Callable, Iterator

import pytest

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.soundcard.card import SoundCard
from localvoice.transports.soundcard.devices import Device, Direction, choose, list_devices
from tests.support.fake_portaudio import FakePortAudio, info

HEADSET = Device(0, "USB Headset", 1, 2, 48_000)
CAMERA = Device(1, "USB Camera", 2, 0, 32_000)
SPEAKERS = Device(2, "Built-in Audio", 0, 2, 44_100, default_output=True)
SERVER = Device(3, "default", 32, 32, 44_100, default_input=True)
PLUGIN = Device(4, "sysdefault", 32, 32, 44_100)
DEVICES = [HEADSET, CAMERA, SPEAKERS, SERVER, PLUGIN]


@pytest.mark.parametrize(
    ("wanted", "direction", "expected"),
    [
        (None, Direction.INPUT, SERVER),
        ("", Direction.INPUT, SERVER),
        (None, Direction.OUTPUT, SPEAKERS),
        ("cam", Direction.INPUT, CAMERA),
        ("HEADSET", Direction.INPUT, HEADSET),
        ("usb", Direction.OUTPUT, HEADSET),  # the camera can't speak
        ("Default", Direction.INPUT, SERVER),  # the whole name, not a part of "sysdefault"
        ("1", Direction.INPUT, CAMERA),
        ("4", Direction.OUTPUT, PLUGIN),
    ],
)
def test_a_device_is_chosen_by_number_or_name(
    wanted: str | None, direction: Direction, expected: Device
) -> None:
    assert choose(DEVICES, wanted, direction) is expected


@pytest.mark.parametrize(
    ("devices", "wanted", "message"),
    [
        (DEVICES, "usb", '"usb" fits several devices.*--input.*: 0 "USB Headset", 1 "USB Camera"\\.$'),
        (
            DEVICES,
            "jabra",
            'No microphone.*"jabra".*--input.*0 "USB Headset", 1 "USB Camera", 3 "default", 4',
        ),
        (DEVICES, "2", 'No microphone.*"2".*0 "USB Headset"'),  # it is there, but it is no microphone
        ([HEADSET, CAMERA], None, 'no default microphone.*--input.*0 "USB Headset", 1 "USB Camera"'),
        ([SPEAKERS], None, "no microphone on this machine.*localvoice serve"),
        ([], "usb", "no microphone on this machine"),
    ],
)
def test_a_choice_that_is_not_clear_says_what_there_is(
    devices: list[Device], wanted: str | None, message: str
) -> None:
    with pytest.raises(VoiceError, match=message) as caught:
        choose(devices, wanted, Direction.INPUT)
    assert caught.value.code is ErrorCode.AUDIO_PROCESSING_ERROR
    assert caught.value.component is Component.SERVER


def test_a_missing_output_names_its_own_option() -> None:
    with pytest.raises(VoiceError, match='No output device.*"jabra".*--output.*0 "USB Headset", 2'):
        choose(DEVICES, "jabra", Direction.OUTPUT)


def test_devices_are_listed_as_portaudio_has_them(card: FakePortAudio) -> None:
    card.devices.append(info("Monitor", outputs=8, rate=44_100.0))
    assert list_devices() == [
        Device(0, "Webcam", 1, 0, 16_000, default_input=True),
        Device(1, "Headphones", 0, 2, 48_000, default_output=True),
        Device(2, "Monitor", 0, 8, 44_100),
    ]
    assert [device.default for device in list_devices()] == [True, True, False]


class _NoPortAudio(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "sounddevice":
            raise OSError("PortAudio library not found")


@pytest.fixture
def no_portaudio(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_NoPortAudio(), *sys.meta_path])
    yield


@pytest.mark.usefixtures("no_portaudio")
@pytest.mark.parametrize("use", [list_devices, lambda: SoundCard(FrameInbox(), None, None)])
async def test_without_portaudio_it_is_said_what_to_install(use: Callable[[], object]) -> None:
    with pytest.raises(
        VoiceError, match="apt install libportaudio2.*dnf install portaudio.*localvoice serve"
    ):
        use()
