"""How the ends of people's turns are measured: what a prompt is, what a pause in it is, and when it ends."""

from io import StringIO
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from benchmarks import people
from benchmarks.endings import ended_after, is_cut, show
from benchmarks.endings_fit import fitted, regression
from benchmarks.pauses import HESITATION_MS, Notes, Pause, Truth, truth_at
from localvoice.audio.end_of_turn import PATIENCE

BALANCED = PATIENCE["balanced"]


def pause(
    truth: Truth = "finished",
    text: str = "It is locked.",
    probability: float = 0.99,
    natural_ms: int | None = None,
    dictated: str = "",
) -> Pause:
    return Pause(text, 1, truth, natural_ms, probability, text, "en", dictated)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("conf-full", "That conference is full.", "finished"),
        ("vm-dialout", "please wait while i connect your call", "finished"),
        ("vm-goodbye", "Goodbye", "finished"),
        ("at-tone", "The time will be exactly...", "goes on"),
        ("priv-callpending", "who introduces themselves as:", "goes on"),
        ("vm-youhave", "you have", "goes on"),
        ("vm-messages", "messages", None),
        ("extension", "Extension.", None),
        ("digits/1", "one", None),
        ("tt-monkeys", "[sound of monkeys screaming]", None),
    ],
)
def test_what_a_prompt_is(name: str, text: str, kind: str | None) -> None:
    assert people.kind_of(name, text) == kind


def test_texts_that_share_a_sentence_are_in_the_same_half() -> None:
    texts = ["Sorry. Try again.", "Hello.", "It is full. try again", "Goodbye.", "It is full!", "Thanks."]
    half = people.halves(texts)
    assert half[0] == half[2] == half[4]
    assert sorted(half) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("said", "truth"),
    [
        ("Press 1", "within"),
        ("Press one to listen.", "after a clause"),
        ("Press 1 to listen. Or for help.", "between sentences"),
        ("Press 1 to listen, or 4 help, goodbye.", None),
        ("", None),
    ],
)
def test_a_pause_is_what_the_mark_after_it_says(said: str, truth: str | None) -> None:
    assert truth_at("Press 1 to listen, or 2 for help.  Goodbye.", said) == truth


def test_the_sounds_are_g722() -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(3200) / 16_000)).astype(np.int16)
    encoder = av.CodecContext.create("g722", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 16_000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(tone[np.newaxis], "s16", "mono")
    frame.sample_rate = 16_000
    data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    heard = people.decoded(data).astype(float)
    assert len(heard) == 2 * len(data) == len(tone)
    assert np.sqrt((heard[400:] ** 2).mean()) == pytest.approx(8000 / np.sqrt(2), rel=0.1)


def test_without_apt_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(people, "FOLDER", tmp_path / "people")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(people.NoRecordings, match=r"asterisk-core-sounds-en-g722.*dpkg-deb -x"):
        people.prompts()


def test_a_turn_ends_when_the_words_are_known_unless_the_sound_is_certain() -> None:
    assert ended_after(pause(probability=0.95), 300, "balanced") == 352, "in windows of 32 ms"
    assert ended_after(pause(probability=0.95), 100, "balanced") == BALANCED.over_ms
    assert ended_after(pause(probability=0.99), 5000, "balanced") == BALANCED.over_ms
    assert ended_after(pause(probability=0.95, text=""), 300, "balanced") == BALANCED.unfinished_ms


def test_a_pause_is_cut_when_the_turn_ends_within_it() -> None:
    assert is_cut(pause("within", probability=0.95, natural_ms=352), 300, "balanced")
    assert not is_cut(pause("within", probability=0.95, natural_ms=320), 300, "balanced")
    assert not is_cut(pause("goes on", "You have a", 0.9), 300, "balanced") and HESITATION_MS == 700
    group = pause("digits", "555.", natural_ms=700)
    assert is_cut(group, 5000, "balanced") and not is_cut(
        pause("digits", "555.", dictated="555."), 5000, "balanced"
    )


def test_what_was_heard_of_a_clip_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pauses.jsonl"
    notes = Notes(path)
    assert notes.of("conf-full") is None
    heard = [pause("within", natural_ms=160), pause(text="C\u2019est tout.")]
    notes.keep("conf-full", heard)
    notes.keep("silent", [])
    again = Notes(path)
    assert again.of("conf-full") == heard and again.of("silent") == [] and len(again) == 2


def test_the_table_shows_each_goal() -> None:
    out = StringIO()
    pauses = [pause(probability=0.95), pause("within", natural_ms=200), pause("goes on", "You have a", 0.9)]
    show([*pauses, pause("digits", "555.", natural_ms=700)], 200, "balanced", Console(file=out, width=120))
    text = out.getvalue()
    assert text.count("✓") == 4 and "0.0% of 2" in text and "0 of 1 cut" in text


def test_the_weights_follow_the_pauses_and_stay_where_these_say_nothing() -> None:
    random = np.random.default_rng(0)
    signs = np.column_stack([random.normal(size=4000), np.ones(4000), np.zeros(4000)])
    over = random.random(4000) < 1 / (1 + np.exp(-(2 * signs[:, 0])))
    weights = regression(signs, over, np.array([1.0, 0.0, -3.0]), 1.0)
    assert weights == pytest.approx([2.0, 0.0, -3.0], abs=0.3) and weights[2] == pytest.approx(-3.0)
    out = StringIO()
    fitted([pause(), pause("goes on", "You have a", 0.3)], Console(file=out, width=120))
    assert "UNFINISHED" in out.getvalue()
