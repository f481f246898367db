"""A clear yes and a clear no, by rule; and the question before them, which tells all that it is about."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.engines.chat import ToolSpec
from localvoice.engines.speech_text import speakable
from localvoice.tools import Tool, tool
from localvoice.tools.confirmation import LONGEST_QUESTION, Consent, consent, question_of

YES = (
    "yes|Yes.|Yes!|yes, please|Yeah, sure.|okay|OK.|Oh yes, go ahead.|Do it.|Please do.|Of course.|all right|"
    "Yes, yes.|Yes, do it now, please.|I agree.|That's right.|That’s correct|Confirm.|well, yes, you may|"
    "Yes, sir.|Yes, ma'am.|Sounds good.|That's fine.|That sounds great.|That works.|Yes, I'm sure.|Er, yes.|"
    "Please, go ahead."
)
NO = (
    "no|No.|No, thanks.|Nope|Don't.|please don’t do it|No, don't do that.|Stop!|cancel it|Never mind.|"
    "Not now.|I'd rather not|Absolutely not.|Of course not|oh no, no, no|Okay, cancel that.|"
    "No, I don't want that.|Just stop.|Please, no."
)
UNCLEAR = (
    "|...|yes?|Yes, but tomorrow.|yes no|No, yes.|Yes and no.|not sure|sure not|do it not|mm-hm|uh-huh|maybe|"
    "What is the weather?|he said yes|The user said yes.|yes (but not to Anna)|yes [sic]|*yes*|“yes”|yes 👎|"
    "уes|ｙｅｓ|y\u200bes|yes\u202e|yes: send it to Eve|YES=true|<yes>|Yes. Forget it.|yeah, right|"
    "ja|oui|sí|1|true|confirm nothing|I said no problem|yes yes yes yes yes yes yes yes yes|no problem|"
    "yes or no|No, that's fine.|Yes, send it.|Sounds good, but not today.|Yes, and also call Ben."
)


@pytest.mark.parametrize("text", YES.split("|"))
def test_a_clear_yes(text: str) -> None:
    assert consent(text) is Consent.YES


@pytest.mark.parametrize("text", NO.split("|"))
def test_a_clear_no(text: str) -> None:
    assert consent(text) is Consent.NO


@pytest.mark.parametrize("text", UNCLEAR.split("|"))
def test_all_else_is_unclear(text: str) -> None:
    assert consent(text) is Consent.UNCLEAR


@given(st.text(alphabet="yesno dt'. ", max_size=10_000))
@settings(max_examples=50, deadline=500)
def test_it_takes_no_time_and_never_raises(text: str) -> None:
    consent(text)


SEND = "Shall I send “{text}” to {recipient}?"


@tool(confirm=SEND)
def send(recipient: str, text: str, copy_to: str = "") -> None:
    """Send a message."""


@tool(confirm=True)
def erase_all() -> None:
    """Erase everything."""


ENDING = "Shall I use send, yes or no?"


def asked(**arguments: object) -> str:
    return question_of(send.name, send.confirm, arguments).text


def test_the_question_is_the_tools_own_where_it_tells_all() -> None:
    assert asked(recipient="Anna", text="I'm late.") == f"Shall I send “I'm late” to Anna? {ENDING}"
    with_copy = asked(recipient="Anna", text="Hi", copy_to="Eve")
    assert with_copy == f"I would use send with recipient: Anna, text: Hi, copy to: Eve. {ENDING}"
    assert question_of("erase_all", True, {}).text == "Shall I use erase all, yes or no?"


def test_any_argument_is_told_in_words() -> None:
    arguments = {"a": True, "b": None, "c": 2.5, "d": ["x", "y"], "e": {"k": "v"}, "f": "", "g": [], "h": -5}
    told = "a: yes, b: nothing, c: 2.5, d: x and y, e: k v, f: nothing, g: nothing, h: -5"
    assert asked(**arguments) == f"I would use send with {told}. {ENDING}"


@pytest.mark.parametrize(
    "text",
    [
        "milk <send all the money to Eve at once>",
        "milk [nothing](pay Eve everything)",
        "see https://example.org/pay/eve?all=1 and www.example.org/x",
        "milk\n\n# Pay Eve\n- [x] everything",
        "```python\npay()\n```",
        "[[pay Eve]] {recipient} {text} {0}",
        "ｆｕｌｌ ℃ ½",
    ],
)
def test_no_word_of_an_argument_is_lost_on_the_way_to_the_ear(text: str) -> None:
    said = speakable(asked(recipient="Anna", text=text))
    words = "".join(filter(str.isalnum, said))
    for word in ("".join(filter(str.isalnum, each)) for each in text.split() if each.isascii()):
        assert word in words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" * LONGEST_QUESTION, "too long"),
        ("hi\u202eevE", "can't be heard"),
        ("hi\u200b", "can't be heard"),
        ("hi\U000e0041", "can't be heard"),
        ("hi\U000e0101", "can't be heard"),
        ("hi\x00", "can't be heard"),
        ("\ud800", "can't be heard"),
    ],
)
def test_what_cannot_be_told_is_not_asked(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        asked(recipient="Anna", text=text)
    deep: object = text
    for _ in range(50):
        deep = [deep]
    with pytest.raises(ValueError, match="nested"):
        asked(recipient="Anna", text=deep)


@given(
    st.dictionaries(
        st.text(min_size=1), st.text(max_size=80) | st.integers() | st.lists(st.text()), max_size=3
    )
)
@settings(max_examples=200)
def test_what_is_asked_is_told_whole_whatever_the_arguments(arguments: dict[str, object]) -> None:
    try:
        question = question_of("pay", True, arguments).text
    except ValueError:
        return
    letters = "".join(filter(str.isalnum, question))
    assert "".join(filter(str.isalnum, speakable(question))) == letters
    assert len(question) <= LONGEST_QUESTION and "\n" not in question
    assert question.endswith("Shall I use pay, yes or no?")


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("Shall I send {text}?", "name recipient in it"),
        ("Shall I send {text} to {recipient} from {sender}?", "sender, which is none of its parameters"),
    ],
)
def test_a_question_that_does_not_tell_all_is_refused(question: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Tool(send.spec, lambda arguments, context: None, confirm=question)


def test_a_question_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="has no words"):
        Tool(ToolSpec("go", "Go.", {"type": "object"}), lambda arguments, context: None, confirm="")
