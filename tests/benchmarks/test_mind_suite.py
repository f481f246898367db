"""The entries of the suite: all are of the format, complete, and told apart by their ids."""

from collections import Counter

import pytest

from benchmarks.mind.grading import all_grades
from benchmarks.mind.suite import HALVES, KINDS, Half, Request, authors, conversations, requests


def all_of(half: Half) -> list[Request]:
    return [each for author in authors(half) for each in requests(half, author)]


@pytest.mark.parametrize("half", HALVES)
def test_a_half_has_enough_of_each_kind_from_each_author(half: Half) -> None:
    for author in authors(half):
        counts = Counter(each.kind for each in requests(half, author))
        assert set(counts) == set(KINDS) and min(counts.values()) >= 5
        assert counts.total() >= 120


def test_an_id_is_that_of_one_entry() -> None:
    ids = [each.id for half in HALVES for each in all_of(half)] + [each.id for each in conversations()]
    assert [each for each, count in Counter(ids).items() if count > 1] == []


def test_hardly_a_request_is_in_both_halves() -> None:
    tuning, held_out = ({tuple(turn.said for turn in each.turns) for each in all_of(half)} for half in HALVES)
    shared = len(tuning & held_out)  # people say "Shut up." in the same words
    assert shared <= len(held_out) / 100


def test_a_grade_is_that_of_an_entry_that_needs_one() -> None:
    by_hand = {
        each.id for half in HALVES for each in all_of(half) if any(turn.by_hand for turn in each.turns)
    }
    assert {id for id, _ in all_grades()} <= by_hand


def test_the_conversations_ask_back_what_was_told() -> None:
    *short, long = conversations()
    assert len(short) == 10 and all(8 <= len(each.turn) <= 14 for each in short)
    assert all(any(turn.recall for turn in each.turn) for each in short)
    assert (len(long.turn), sum(turn.recall for turn in long.turn)) == (60, 20)
    assert all(turn.judged for each in conversations() for turn in each.turn if turn.recall)
