"""Speech by people: the prompts of a telephone system, out of two of Debian's packages, and what each one is.

The packages are fetched by `apt-get download` into a folder that git ignores, and unpacked there; nothing is
installed. The sounds are G.722 at 16 kHz. The words of each are in the package's text file.
"""

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import av
import numpy as np

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, Samples

FOLDER: Final = Path("build") / "people"
PACKAGES: Final = ("asterisk-core-sounds-en", "asterisk-core-sounds-en-g722")
_WORDS: Final = Path("usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
_SOUNDS: Final = Path("usr/share/asterisk/sounds/en_US_f_Allison")
_PIECES: Final = ("digits/", "letters/", "phonetic/", "silence/", "spy-")
"""Single words, and no prompts."""

Kind = Literal["finished", "goes on"]

_GO_ON: Final = frozenset(
    "conf-enteringno conf-thereare followme/call-from for if-correct-press is is-set-to "
    "privacy-to-blacklist-last-caller queue-holdtime queue-less-than queue-thereare to-call-this-number "
    "to-extension to-listen-to-it to-rerecord-it vm-and vm-for vm-from vm-from-extension vm-from-phonenumber "
    "vm-num-i-have vm-onefor vm-press vm-savedto vm-theperson vm-youhave with you-entered your".split()
)
"""Beginnings of an announcement, as far as no mark in the text says so."""
_ENDS: Final = frozenset("vm-goodbye vm-no vm-password conf-errormenu".split())
"""One or two words that are an answer by themselves, as far as no mark in the text says so."""
_EITHER: Final = frozenset("extension number telephone-number vm-extension dir-multi3".split())
"""A noun, before a number or by itself."""
HELD_OUT: Final = 1
"""The half that nothing is fitted on."""
LONGEST_SAID: Final = 5.0
"""Seconds of a sentence that is spoken into a server."""
_FEWEST: Final = 3
"""Words of a sentence that has no mark at its end."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """One recording."""

    name: str
    text: str
    """What is said, with the marks that the package gives it."""
    kind: Kind
    sound: AudioFrame
    """At 16 kHz."""


class NoRecordings(Exception):
    """They aren't there and can't be fetched; says how to get them."""


def fetched() -> Path:
    """Where the packages are unpacked; fetched when they aren't yet. Raises `NoRecordings`."""
    if not (FOLDER / _SOUNDS).is_dir():
        how = (
            f"The recordings of people are in Debian's packages {' and '.join(PACKAGES)}. Without "
            f"apt-get, download both elsewhere and unpack them into {FOLDER} with `dpkg-deb -x`."
        )
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise NoRecordings(how)
        FOLDER.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=FOLDER, check=True)
            for package in FOLDER.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=FOLDER, check=True)
        except subprocess.CalledProcessError as error:
            raise NoRecordings(f"{error} Is there a network? Run `apt-get update` first. {how}") from error
    return FOLDER


def prompts() -> list[Prompt]:
    """All that are a sentence, an answer or the beginning of one, in the order of their names."""
    folder = fetched()
    found = []
    for name, text in sorted(_texts(folder)):
        path = folder / _SOUNDS / f"{name}.g722"
        if (kind := kind_of(name, text)) is not None and path.is_file():
            found.append(Prompt(name, text, kind, AudioFrame(decoded(path.read_bytes()), SPEECH_RATE)))
    return found


def said_by_people(most: int = 10) -> list[AudioFrame]:
    """Sentences to speak into a server, of the half that nothing is fitted on. Raises `NoRecordings`."""
    every = prompts()
    half = halves([prompt.text for prompt in every])
    chosen = [
        prompt.sound
        for prompt, its_half in zip(every, half, strict=True)
        if its_half == HELD_OUT and prompt.kind == "finished" and len(sentences(prompt.text)) == 1
        if len(prompt.text.split()) > _FEWEST and prompt.sound.seconds < LONGEST_SAID
    ]
    return chosen[:: max(1, len(chosen) // most)][:most]


def digits() -> dict[int, AudioFrame]:
    """The digits, 0 to 9, one recording each."""
    folder = fetched() / _SOUNDS / "digits"
    return {
        digit: AudioFrame(decoded((folder / f"{digit}.g722").read_bytes()), SPEECH_RATE)
        for digit in range(10)
    }


def kind_of(name: str, text: str) -> Kind | None:
    """Whether the speaker has finished with it; None for what is no speech or could be either."""
    words = text.split()
    if name.startswith(_PIECES) or name in _EITHER or text[0] in "[<(":
        return None
    if name in _GO_ON or text.endswith(("...", ":")):
        return "goes on"
    return "finished" if text[-1] in ".?!" or len(words) >= _FEWEST or name in _ENDS else None


def sentences(text: str) -> list[str]:
    """The sentences of a prompt, in small letters without marks."""
    parts = re.split(r"[.?!]+(?:\s|$)", text.lower())
    return [" ".join(re.findall(r"[\w']+", part)) for part in parts if re.search(r"\w", part)]


def halves(texts: list[str]) -> list[int]:
    """For each text the half that it belongs to, 0 or 1: texts that share a sentence are in the same one."""
    group = list(range(len(texts)))
    first: dict[str, int] = {}

    def root(index: int) -> int:
        while group[index] != index:
            index = group[index]
        return index

    for index, text in enumerate(texts):
        for sentence in sentences(text):
            group[root(index)] = root(first.setdefault(sentence, index))
    sizes = [0, 0]
    half: dict[int, int] = {}
    for index in range(len(texts)):
        if root(index) not in half:
            half[root(index)] = int(sizes[1] < sizes[0])
        sizes[half[root(index)]] += 1
    return [half[root(index)] for index in range(len(texts))]


def decoded(data: bytes) -> Samples:
    """G.722 at 64 kbit/s, as samples at 16 kHz."""
    decoder = av.CodecContext.create("g722", "r")
    decoder.sample_rate, decoder.layout = SPEECH_RATE, "mono"
    return np.concatenate([frame.to_ndarray()[0] for frame in decoder.decode(av.Packet(data))])


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for line in gzip.decompress((folder / _WORDS).read_bytes()).decode("utf-8").splitlines():
        if found := re.match(r"(\S+): +(.*\S)", line):
            yield found[1], found[2]
