"""Pieces to speak: where a reply is cut, and that it makes no difference how its tokens came."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localvoice.conversation.sentences import Splitter, ends_within_sentence


def cut(*deltas: str) -> list[str]:
    pieces = Splitter()
    return [piece for delta in deltas for piece in pieces.feed(delta)] + pieces.flush()


@pytest.mark.parametrize(
    ("reply", "pieces"),
    [
        ("Hello.", ["Hello."]),
        ("Hello. How are you?", ["Hello.", "How are you?"]),
        ("Wait! What? Really?! Yes.", ["Wait!", "What?", "Really?!", "Yes."]),
        # The first piece is a clause, the others are sentences.
        (
            "Of course I can, and I will. One, two, three.",
            ["Of course I can,", "and I will.", "One, two, three."],
        ),
        ("Well, of course I can.", ["Well, of course I can."]),
        # The second may be a clause, if it is long enough; from the third on they are whole.
        (
            "Bees make honey, which they keep in the hive all winter, and eat, and we take some of it, too.",
            [
                "Bees make honey,",
                "which they keep in the hive all winter,",
                "and eat, and we take some of it, too.",
            ],
        ),
        ("The quick brown fox jumps over the lazy dog near the river.", None),
        # A full stop that ends no sentence.
        ("Ask Dr. Smith or Mrs. Jones. They know.", ["Ask Dr. Smith", "or Mrs. Jones.", "They know."]),
        ("It is 3.14 roughly. Yes.", ["It is 3.14 roughly.", "Yes."]),
        ("See e.g. the moon. It shines.", ["See e.g. the moon.", "It shines."]),
        ("J. R. R. Tolkien wrote. He did.", ["J. R. R. Tolkien wrote.", "He did."]),
        ("Go to https://example.com/a.b?c=d now. Bye.", ["Go to https://example.com/a.b?c=d now.", "Bye."]),
        ("So am I. You too.", ["So am I.", "You too."]),
        ("1. Eggs\n2. Milk\n3. Bread", ["1. Eggs", "2. Milk", "3. Bread"]),
        ("Well... maybe. Yes.", ["Well...", "maybe.", "Yes."]),
        ("Hm… maybe. Yes.", ["Hm…", "maybe.", "Yes."]),
        # Quotes and brackets stay with their sentence.
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("(It works.) Good.", ["(It works.)", "Good."]),
        # Without spaces between sentences.
        ("你好。今天天气很好！你呢？", ["你好。", "今天天气很好！", "你呢？"]),
        ("彼は「はい。」と言った。そう。", ["彼は「はい。」", "と言った。", "そう。"]),
        # Lines.
        ("First line\n\nSecond line\n", ["First line", "Second line"]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_where_a_reply_is_cut(reply: str, pieces: list[str] | None) -> None:
    found = cut(reply)
    if pieces is None:  # the first one is short, whatever the rest
        assert len(found) > 1 and 3 <= len(found[0].split()) <= 6
    else:
        assert found == pieces


def test_a_first_piece_without_punctuation_ends_before_a_small_word() -> None:
    assert cut("The train to the coast leaves from platform nine every single hour.")[0] == (
        "The train to the coast leaves"
    )


@pytest.mark.parametrize(
    ("piece", "within"),
    [
        ("Bees make honey,", True), ("The capital of France", True), ("Note:", True), ("Yes.", False),
        ('He said "Stop."', False), ("(It works!)", False), ("「はい。」", False), ("Hm…", False),
    ],
)  # fmt: skip
def test_which_pieces_end_amid_a_sentence(piece: str, within: bool) -> None:
    assert ends_within_sentence(piece) == within


def test_a_piece_is_given_as_soon_as_it_is_whole() -> None:
    pieces = Splitter()
    assert pieces.feed("Hello there") == []
    assert pieces.feed(".") == [], "it may still become ellipsis, or 3.14"
    assert pieces.feed(" ") == ["Hello there."]
    assert pieces.feed("And") == []
    assert pieces.flush() == ["And"]
    assert pieces.flush() == []


@pytest.mark.parametrize("run", ["x", "!", "。", "」", ",", "\n", " ", "- ", "a ", "1.", "é,"])
def test_a_model_in_a_loop_costs_no_time(run: str) -> None:
    begun = time.process_time()
    for beginning in ("", "Yes. "):
        pieces = Splitter()
        pieces.feed(beginning + run * 20_000)
        for _ in range(5):
            pieces.feed(run)
    assert time.process_time() - begun < 1


WORDS = st.sampled_from(
    "Hello yes no Dr. Mr. e.g. 3.14 J. I. 1. 12. and but or because well, so: then; – - ... … ! ? . , "
    '"Stop." (one) a.b http://x.y/z 你好。 「はい。」 と言った！ 。」 ，cat the-dog 。。 …? don’t'.split()
)
REPLIES = st.lists(
    st.tuples(WORDS | st.text("abc .,!?\n", max_size=4), st.sampled_from([" ", "", "\n", "  ", "\n\n"])),
    max_size=40,
).map(lambda parts: "".join(word + gap for word, gap in parts))


@given(REPLIES | st.text(), st.data())
@settings(max_examples=400)
@example("one two three four five six seven eight nine ten eleven, twelve thirteen.", None)
@example("one two and three four five. Six seven eight nine ten.", None)
@example("彼は「はい。」と言った。", None)
def test_the_pieces_do_not_depend_on_how_the_text_came(reply: str, data: st.DataObject | None) -> None:
    by_letter = cut(*reply)
    assert cut(reply) == by_letter
    if data is not None:
        ends = sorted(data.draw(st.sets(st.integers(0, len(reply)), max_size=10)) | {0, len(reply)})
        assert cut(*(reply[a:b] for a, b in zip(ends, ends[1:], strict=False))) == by_letter
    assert "".join("".join(by_letter).split()) == "".join(reply.split())
    assert all(piece.strip() == piece != "" for piece in by_letter)
