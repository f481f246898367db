"""Cleaning text for speech: by example, and for any text at all."""

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.engines.speech_text import LONGEST, speakable, split_long


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**Bold**, *it*, __strong__ and `code`.", "Bold, it, strong and code."),
        ("# Shopping\n- Milk\n- Eggs 🥚\n* Bread", "Shopping. Milk. Eggs. Bread"),
        ("1. Boil water\n2. Add tea", "1. Boil water. 2. Add tea"),
        ("> > - a quoted item", "a quoted item"),
        ("- [ ] open\n- [x] done", "open. done"),
        ("See [the docs](https://example.com/a_b) now[^1].", "See the docs now."),
        ("![a cat](cat.png)", "a cat"),
        ("```python\nprint(1)\n```\nDone.", "print(1). Done."),
        ("a | b\n---|---\n1 | 2", "a b. 1 2"),
        ("<b>bold</b><br/>text", "bold text"),
        ("~~gone~~ snake_case", "gone snake case"),
        ("Go to https://www.example.com/x?y=1#z.", "Go to example.com."),
        ("(http://user:pw@example.org:80/)", "(example.org)"),
        ("www.example.com, or https://", "example.com, or"),
        ("Hi 👩‍🚀! 🇩🇪 1️⃣ ☀️ ★ → ok", "Hi! 1 ok"),
        ("Great 😀.", "Great."),
        ("😀 ... 🎉", ""),
        ("[[hˈɛloʊ]] [[", "hˈɛloʊ"),
        ("a\x00b\ud800c\u200bd\ufeff", "a b cd"),
        ("either / or • both", "either or both"),
        ("5 * 3 = 15 and 2*2 = 4", "5 × 3 = 15 and 2 × 2 = 4"),
        ("C# beats #1", "C sharp beats 1"),
        ("21℃", "21°C"),
    ],
)
def test_what_is_written_and_what_is_said(written: str, said: str) -> None:
    assert speakable(written) == said


@pytest.mark.parametrize(
    "text",
    [
        "It's 20 °C, 50% off, $5.50, 3 € and £2.",
        'don’t – won\'t — 1,000.5 (or so); "quoted": 10:30!',
        "Ça va, naïve Zoë? Straße, Ελληνικά, Привет, 日本語。こんにちは、नमस्ते, שלום",
        "نمی\u200cخواهم",
        "AT&T, me@example.com, 1 / 2, 5 + 3 = 8, -5, well-known, example.com",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert speakable(text) == text


MARKUP = st.sampled_from(
    [
        "*",
        "**",
        "_",
        "`",
        "```",
        "#",
        "[",
        "]",
        "(",
        ")",
        "[[",
        "]]",
        "<b>",
        "<",
        ">",
        "|",
        "~",
        "\\",
        "-",
        "\n",
    ]
    + [
        "https://",
        "www.",
        "a",
        "é",
        "日",
        "1",
        " ",
        ".",
        "😀",
        "\u200d",
        "\ufe0f",
        "\x00",
        "\ud800",
        "®",
        "&",
        "/",
    ]
)
ANY_TEXT = st.one_of(st.text(), st.text(st.characters()), st.lists(MARKUP, max_size=30).map("".join))


@given(ANY_TEXT)
def test_nothing_unspeakable_is_left(text: str) -> None:
    said = speakable(text)
    assert not set(said) & set("*#`~|\\^{}[]<>_\ufe0f")
    assert not re.search(r"(?i)(https?|ftp)://", said)
    for character in said:
        category = unicodedata.category(character)
        assert category[0] != "C" or character in "\u200c\u200d"
        assert category not in ("So", "Sm", "Sk") or character in "°№+=±×÷−≤≥≈≠√∞"
    assert said == " ".join(said.split())
    assert not said or any(character.isalnum() for character in said)


@given(ANY_TEXT)
def test_speakable_text_comes_back_as_it_is(text: str) -> None:
    said = speakable(text)
    assert speakable(said) == said


@given(st.lists(st.text(st.characters(categories=["Ll", "Lu"]), min_size=1), min_size=1).map(" ".join))
def test_words_are_kept(text: str) -> None:
    assert speakable(text) == text


@pytest.mark.parametrize("opening", ["[", "<a", "**", "`", "https://", "> ", "\n", "![a](", "* 1", "ab. "])
def test_a_long_text_is_cleaned_quickly(opening: str) -> None:
    start = time.monotonic()
    assert speakable(opening * 5000 + " end").endswith("end")
    assert time.monotonic() - start < 1.0


def test_splitting_prefers_sentences_then_clauses_then_words() -> None:
    assert split_long("One two. Three, four five six", 10) == ["One two.", "Three,", "four five", "six"]
    assert split_long("abcdefghijkl", 5) == ["abcde", "fghij", "kl"]
    assert split_long("今日は晴れ。明日は雨、たぶん", 8) == ["今日は晴れ。", "明日は雨、たぶん"]
    assert split_long("short") == ["short"]
    assert split_long("  ") == []


@given(st.text(st.sampled_from("ab .,!?。 "), max_size=2000), st.integers(1, 100))
def test_splitting_loses_nothing_and_keeps_the_limit(text: str, limit: int) -> None:
    pieces = split_long(text, limit)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= limit for piece in pieces)


def test_text_without_punctuation_is_capped() -> None:
    assert all(len(piece) <= LONGEST for piece in split_long("word " * 1000))
