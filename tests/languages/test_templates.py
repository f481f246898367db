"""Sentence templates fit whole utterances, and give what stands in their places."""

import time

import pytest

from localvoice.languages import Language, language, matching
from localvoice.languages.templates import LONGEST, Templates, Usage, plain

FILLERS = Usage(("please", "(can|could) you", "okay"), ("please", "for me"))
TIMER = Templates(["(set|start) [a|the] [{label}] timer for {duration}", "{duration} timer"], FILLERS)


@pytest.mark.parametrize(
    ("said", "places"),
    [
        ("Set a timer for 10 minutes.", {"duration": "10 minutes"}),
        (
            "Okay, could you please start the Pasta timer for ten minutes, please?",
            {"label": "Pasta", "duration": "ten minutes"},
        ),
        ("SET TIMER FOR 1:30!", {"duration": "1:30"}),
        ("Two and a half hour timer", {"duration": "Two and a half hour"}),
    ],
)  # fmt: skip
def test_a_whole_utterance_fits(said: str, places: dict[str, str]) -> None:
    assert next(TIMER.matches(said)) == places


@pytest.mark.parametrize(
    "said", ["", "Set timers.", "Why set one for ten minutes?", "a timer for ten", "timer"]
)
def test_no_part_of_one_does(said: str) -> None:
    assert not TIMER.fit(said)


def test_a_place_takes_the_least() -> None:
    assert next(Templates(["{a} to {b}"]).matches("one to two to three")) == {"a": "one", "b": "two to three"}


def test_a_place_has_a_template_of_its_own_or_a_value() -> None:
    told = Templates(
        ["remind me to {what} {when:(today|tomorrow) [at *]}", "(stop{do=end}|begin{do=start}) [{what}]"]
    )
    said = "Remind me to go out today with the dog tomorrow at seven thirty."
    wanted = {"what": "go out today with the dog", "when": "tomorrow at seven thirty"}
    assert next(told.matches(said)) == wanted
    assert next(told.matches("Begin the work")) == {"do": "start", "what": "the work"}
    assert next(told.matches("Stop")) == {"do": "end"}
    assert told.places == {"what", "when", "do"}


def test_words_that_mean_the_same_have_a_name() -> None:
    text = '[words]\nget = ["buy", "pick up"]\n[phrases]\nstop = ["[please] <get> {what:# (eggs|apples)}"]'
    stop = Language("xy", text).phrases["stop"]
    assert next(stop.matches("Pick up 12 eggs")) == {"what": "12 eggs"}
    assert not stop.fit("Buy twelve eggs")
    with pytest.raises(ValueError, match="no words called got"):
        Language("xy", text.replace("<get>", "<got>"))


def test_marks_and_typographic_apostrophes_do_not_count() -> None:
    assert plain(" “What’s  7:30 – or $3.50?” ") == "What's 7:30 - or $3.50"


def test_who_says_much_says_no_command() -> None:
    long = Templates(["{words}"])
    assert long.fit("a " * LONGEST) and not long.fit("a " * (LONGEST + 1))


def test_no_utterance_takes_long() -> None:
    begun = time.process_time()
    many = Templates(["{a} to {b} in {c} for {d} now"], FILLERS)
    assert not many.fit("please to in for " * 7) and not many.fit("please " * LONGEST)
    assert time.process_time() - begun < 1


def test_what_templates_have_in_common_is_looked_for_once() -> None:
    looked: list[int] = []

    class Watched(matching.Word):
        def ends(self, words: matching.Words, begins: matching.Ends) -> matching.Ends:
            looked.extend(begins)
            return super().ends(words, begins)

    number = matching.choice([Watched(["one"]), matching.sequence([Watched(["two"]), Watched(["three"])])])
    both = [matching.sequence([matching.Word([word]), number]) for word in ("a", "an")]
    words = matching.Words(["a", "one"])
    assert [part.ends(words, {0: ()}) for part in (*both, *both)] == [{2: ()}, {}, {2: ()}, {}]
    assert looked == [1]  # what can't begin there isn't looked for


@pytest.mark.parametrize("template", ["", "[open", "closed)", "(a]", "{a:b", "a}", "{"])
def test_a_broken_template_is_named(template: str) -> None:
    with pytest.raises(ValueError, match="the sentence template"):
        Templates([template])


def test_a_language_is_a_file() -> None:
    english = language("en")
    assert english is not None and english.code == "en" and english.phrases["stop"].fit("Okay, stop!")
    assert language("xx") is None and language("../en") is None
    own = Language("xy", '[phrases]\nstop = ["halt"]\n[replies]\nhello = "Hey."\n')
    assert own.phrases["stop"].fit("Halt!") and own.replies["hello"] == "Hey."
    with pytest.raises(ValueError, match="unknown"):
        Language("xy", "[unknown]\n")
