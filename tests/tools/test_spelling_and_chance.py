"""Spelling, coins, dice and choices, as the tools are asked for them."""

import random

import pytest

from tests.support.builtin_use import use


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("necessary", "Necessary: N, E, C, E, S, S, A, R, Y."),
        ("Marta", "Marta: M, A, R, T, A."),
        ("don't", "Don't: D, O, N, apostrophe, T."),
        ("ice cream", "Ice cream: I, C, E, space, C, R, E, A, M."),
        ("naïve", "Naïve: N, A, I diaeresis, V, E."),
        ("B12", "B12: B, 1, 2."),
    ],
)
async def test_a_word_is_spelled(word: str, said: str) -> None:
    assert await use("spell", word=word) == said


@pytest.mark.parametrize(
    ("word", "about", "said"),
    [
        ("Banana", "a", "Banana has 3 A's: B, A, N, A, N, A."),
        ("banana", "letter N", "Banana has 2 N's: B, A, N, A, N, A."),
        ("banana", "x", "Banana has no X's: B, A, N, A, N, A."),
        ("banana", "vowels", "Banana has 3 vowels: B, A, N, A, N, A."),
        ("add", "consonants", "Add has 2 consonants: A, D, D."),
        ("ice cream", "letters", "Ice cream has 8 letters: I, C, E, space, C, R, E, A, M."),
        ("stop", "backwards", "Stop backwards: P, O, T, S."),
        ("knife", "first letter", "The first letter of knife is K."),
        ("ox", "third letter", "error: Ox has only 2 letters."),
        ("Max", "phonetic", "Max: Mike, Alfa, X-ray."),
    ],
)
async def test_it_tells_of_letters(word: str, about: str, said: str) -> None:
    assert await use("spell", word=word, about=about) == said


async def test_what_is_no_question_about_letters_is_refused() -> None:
    assert (await use("spell", word="banana", about="bananas")).startswith("error: ")


@pytest.mark.parametrize("word", ["", "it", "your name", "a" * 41, "one two three", "?!"])
async def test_what_is_no_word_is_refused(word: str) -> None:
    assert (await use("spell", word=word)).startswith("error: ")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("coin", {"Heads.", "Tails."}),
        ("a die", {f"You rolled a {number}." for number in range(1, 7)}),
        ("3 to 5", {"3.", "4.", "5."}),
        ("a number between five and three", {"3.", "4.", "5."}),
        ("tea, milk, or juice", {"I pick tea.", "I pick milk.", "I pick juice."}),
        ("two d2", set()),
    ],
)
async def test_each_outcome_is_as_likely(what: str, said: set[str]) -> None:
    random.seed(7)
    drawn = {await use("pick_random", what=what) for _ in range(200)}
    assert drawn == said if said else all(each.startswith("You rolled ") for each in drawn)


@pytest.mark.parametrize("what", ["", "tea", "21 dice", "0 dice", "d1", "d2000", f"1 to {10**13}"])
async def test_what_cannot_be_drawn_is_refused(what: str) -> None:
    assert (await use("pick_random", what=what)).startswith("error: ")
