"""How long a silence has to be: the detector's opinion and the words' together."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.audio.end_of_turn import LONGEST_MS, PATIENCE, Hint, judge_words, silence_ms
from localvoice.config import Eagerness

BALANCED = PATIENCE["balanced"]
ORDER: tuple[Eagerness, ...] = ("quick", "balanced", "patient")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("What is the weather in Paris?", Hint.QUESTION),
        ("Where are you from?", Hint.NONE),
        ("What is the weather like in?", Hint.NONE),
        ("Could you explain how?", Hint.NONE),
        ("What?", Hint.QUESTION),
        ("Why?", Hint.QUESTION),
        ("Set a timer for twenty minutes.", Hint.STATEMENT),
        ("Stop!", Hint.STATEMENT),
        ("“That would be great.”", Hint.STATEMENT),
        ("It costs 421.", Hint.STATEMENT),
        ("My number is 421.", Hint.DICTATED),
        ("555.", Hint.DICTATED),
        ("It's 0171", Hint.DICTATED),
        ("Five, five, five.", Hint.DICTATED),
        ("555, 123.", Hint.DICTATED),
        ("Call 5-5-5.", Hint.DICTATED),
        ("My card is 4417 1234.", Hint.DICTATED),
        ("double seven one", Hint.DICTATED),
        ("My name is S-M-I.", Hint.DICTATED),
        ("A, B.", Hint.DICTATED),
        ("SMI", Hint.DICTATED),
        ("My name is spelled smi.", Hint.DICTATED),
        ("OK.", Hint.STATEMENT),
        ("I work for IBM.", Hint.STATEMENT),
        ("It's S. M.", Hint.DICTATED),
        ("The code is A 5.", Hint.STATEMENT),
        ("Is it 5 5 5?", Hint.QUESTION),
        ("42.", Hint.STATEMENT),
        ("1984.", Hint.STATEMENT),
        ("My code is 1984.", Hint.DICTATED),
        ("It's 300.", Hint.STATEMENT),
        ("$250.", Hint.STATEMENT),
        ("It's 120%.", Hint.STATEMENT),
        ("Give me a five.", Hint.STATEMENT),
        ("Make it a double.", Hint.STATEMENT),
        ("NASA.", Hint.STATEMENT),
        ("The USA.", Hint.STATEMENT),
        ("The FBI.", Hint.STATEMENT),
        ("I live in the U.S.", Hint.STATEMENT),
        ("STOP!", Hint.STATEMENT),
        ("Spell it.", Hint.STATEMENT),
        ("Give me a 5.", Hint.STATEMENT),
        ("That was in 1999.", Hint.STATEMENT),
        ("It's 12:30.", Hint.STATEMENT),
        ("At 7 a.m.", Hint.STATEMENT),
        ("It is 3.5.", Hint.STATEMENT),
        ("You are number one.", Hint.STATEMENT),
        ("Activated", Hint.BRIEF),
        ("Hello world", Hint.BRIEF),
        ("Turn it off", Hint.BRIEF),
        ("Turn it off please", Hint.UNMARKED),
        ("To leave the conference.", Hint.LEADS_IN),
        ("If this is correct.", Hint.LEADS_IN),
        ("Thank you. When you are done", Hint.LEADS_IN),
        ("If this is correct, say yes.", Hint.STATEMENT),
        ("When is it?", Hint.QUESTION),
        ("Once.", Hint.STATEMENT),
        ("There are currently.", Hint.SELDOM_LAST),
        ("So do I.", Hint.UNFINISHED),
        ("Take vitamin B.", Hint.STATEMENT),
        ("And so my fellow America", Hint.UNMARKED),
        ("", Hint.UNMARKED),
        ("I think it is.", Hint.SELDOM_LAST),
        ("He was not", Hint.SELDOM_LAST),
        ("Set a timer for.", Hint.UNFINISHED),
        ("I am from", Hint.UNFINISHED),
        ("My package has not arrived yet and...", Hint.UNFINISHED),
        ("Seven of…", Hint.UNFINISHED),
        ("Ten of f-", Hint.UNFINISHED),
        ("Well,", Hint.UNFINISHED),
        ("Please remind me to.", Hint.UNFINISHED),
        ("What is the?", Hint.UNFINISHED),
        ("I think I’ll", Hint.UNFINISHED),
        ("Um", Hint.UNFINISHED),
    ],
)
def test_what_english_words_say(text: str, hint: Hint) -> None:
    assert judge_words(text, "en") is hint


@pytest.mark.parametrize(
    ("text", "language", "hint"),
    [
        ("Wie spät ist es?", "de", Hint.QUESTION),
        ("Ich komme am", "de", Hint.NONE),
        ("Es ist was in.", "de", Hint.STATEMENT),
        ("Also, ich wollte...", "de", Hint.UNFINISHED),
        ("今天天气怎么样？", "zh", Hint.QUESTION),
        ("我觉得，", "zh", Hint.UNFINISHED),
        ("そうです。", "ja", Hint.STATEMENT),
        ("Meine Nummer ist 0171 55.", "de", Hint.DICTATED),
        ("Null eins sieben.", "de", Hint.STATEMENT),
        ("그 돈.", "ko", Hint.STATEMENT),
    ],
)
def test_in_other_languages_only_the_marks_count(text: str, language: str, hint: Hint) -> None:
    assert judge_words(text, language) is hint


@pytest.mark.parametrize(
    ("probability", "text", "wait"),
    [
        (0.99, None, BALANCED.over_ms),
        (0.9, None, BALANCED.unfinished_ms),
        (0.02, None, BALANCED.unfinished_ms),
        (0.99, "Turn off the lights.", BALANCED.over_ms),
        (0.96, "Turn off the lights.", BALANCED.over_ms),
        (0.5, "Turn off the lights.", BALANCED.unsure_ms),
        (0.02, "Turn off the lights.", BALANCED.unsure_ms),
        (0.001, "The child almost hurt the small dog.", BALANCED.unsure_ms),
        (0.02, "To turn off the lights.", BALANCED.unfinished_ms),
        (0.9, "To turn off the lights.", BALANCED.unsure_ms),
        (0.7, "Why is the sky blue?", BALANCED.over_ms),
        (0.3, "Why is the sky blue?", BALANCED.unsure_ms),
        (0.96, "Turn off the", BALANCED.unfinished_ms),
        (0.3, "Turn off the lights", BALANCED.unfinished_ms),
        (0.9, "Turn off the lights", BALANCED.unsure_ms),
    ],
)
def test_both_are_weighed(probability: float, text: str | None, wait: int) -> None:
    assert silence_ms(probability, text, "en", "balanced") == wait


def test_complete_is_at_once_and_incomplete_never_longer_than_its_limit() -> None:
    assert BALANCED.over_ms <= 256 and BALANCED.unsure_ms < 1000
    assert LONGEST_MS <= 1250
    assert all(patience.unfinished_ms <= LONGEST_MS for patience in PATIENCE.values())


@given(st.floats(0, 1), st.sampled_from([None, "", "Yes.", "Is it?", "I am", "the", "Well, it"]))
def test_more_eagerness_is_never_slower(probability: float, text: str | None) -> None:
    waits = [silence_ms(probability, text, "en", eagerness) for eagerness in ORDER]
    assert waits == sorted(waits)
    assert 0 < waits[0] and waits[-1] <= LONGEST_MS


@given(
    st.lists(st.floats(0, 1), min_size=2).map(sorted),
    st.sampled_from([None, "Yes.", "Is it?", "I am"]),
    st.sampled_from(ORDER),
)
def test_the_more_complete_it_sounds_the_sooner(
    probabilities: list[float], text: str | None, eagerness: Eagerness
) -> None:
    waits = [silence_ms(probability, text, "en", eagerness) for probability in probabilities]
    assert all(later <= sooner for sooner, later in pairwise(waits))


@pytest.mark.parametrize("probability", [0.0, 1.0, math.nextafter(1, 0), math.nextafter(0, 1)])
def test_even_a_detector_that_is_certain_can_be_doubted(probability: float) -> None:
    wait = silence_ms(probability, "Turn off the", "en", "balanced")
    assert wait > BALANCED.over_ms


@pytest.mark.parametrize("eagerness", ORDER)
@pytest.mark.parametrize("text", ["Five, five, five.", "555.", "S-M-I."])
def test_groups_of_digits_are_waited_for(eagerness: Eagerness, text: str) -> None:
    """However complete each of them sounds."""
    assert silence_ms(0.999, text, "en", eagerness) >= 1000
