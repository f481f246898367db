"""A model that reads text only never describes a picture: it isn't asked, or it is told that it saw none."""

from typing import Any

import pytest

from localvoice.conversation.phrases.pictures import BLIND, asks_about
from localvoice.engines.pictures import Image
from tests.support.fakes import FakeLlm
from tests.support.session_room import Rooms
from tests.support.session_room import room as room

UNKNOWN = Image(b"...")
DOOR = Image(b"...", alt="a red door")
NOTE = "[The user sent a picture. You cannot see it, and do not know what it shows.]"

pytestmark = pytest.mark.virtual_clock

ABOUT = """
What is in this picture?
Describe this photo, please.
What do you see?
Can you see me?
What's this?
Who is that?
What colour is the car?
What color is my shirt?
What am I holding?
How do I look?
Read this for me.
What does it say?
Look at my new bike.
Which bird is this?
What’s on my screen?
Is the camera working?
I have a new bike. Can you see it?
I wonder: what is this?
"""
OTHER = """
What is the capital of France?
What time is it?
Tell me a joke.
Set a timer for five minutes.
What is this good for in general?
Do you see what I mean?
I see.
Can you imagine that?
Is that so?
What did you say?
What's the weather like?
Thanks, that is all.
How many legs has a spider?
I want to take photos tomorrow.
My camera is broken.
I was looking at the news.
Well, I've read it already.
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize("words", lines(ABOUT))
def test_a_question_about_the_picture(words: str) -> None:
    assert asks_about(words, [UNKNOWN]) and asks_about(words.upper(), [DOOR, UNKNOWN])
    assert not asks_about(words, []) and not asks_about(words, [DOOR]), "its description answers it"


@pytest.mark.parametrize("words", lines(OTHER))
def test_another_question(words: str) -> None:
    assert not asks_about(words, [UNKNOWN])


async def ask(r: Any, words: str, *images: Image) -> None:
    r.conversation.attach(images)
    r.session.answer_text(words)
    await r.session.settle()


async def test_a_question_about_it_is_not_put_to_the_model_and_leaves_no_trace(room: Rooms) -> None:
    r = room(llm=FakeLlm("Paris."))
    for _ in range(2):
        await ask(r, "What is this?", UNKNOWN)
    assert " ".join(r.tts.said) == f"{BLIND} {BLIND}" and not r.llm.asked
    assert not r.conversation.history.messages
    await ask(r, "What is the capital of France?")
    assert r.tts.said[-1] == "Paris."
    assert [message.content for message in r.llm.asked[0][1:]] == ["What is the capital of France?"]


async def test_another_question_while_a_camera_is_on_is_answered_without_a_word_of_it(room: Rooms) -> None:
    r = room(llm=FakeLlm("Paris.", "Rome."))
    await ask(r, "What is the capital of France?", UNKNOWN)
    await ask(r, "And of Italy?", UNKNOWN)
    assert r.tts.said == ["Paris.", "Rome."]
    prompt = r.llm.asked[-1][1:]
    assert [message.content for message in prompt] == [
        f"{NOTE}\nWhat is the capital of France?",
        "Paris.",
        f"{NOTE}\nAnd of Italy?",
    ]
    assert not any(message.images for message in prompt), "what no model can see isn't kept"


@pytest.mark.parametrize("alt", ["camera frame", "screen frame"])
async def test_where_a_picture_is_from_is_no_description(room: Rooms, alt: str) -> None:
    """LLMRTC's client says so of each picture of its camera and of the shared screen."""
    r = room(llm=FakeLlm("Paris."))
    await ask(r, "What is this?", Image(b"...", alt=alt))
    assert " ".join(r.tts.said) == BLIND and not r.llm.asked
    await ask(r, "What is the capital of France?", Image(b"...", alt=alt))
    assert r.llm.asked[0][-1].content == f"{NOTE}\nWhat is the capital of France?"


async def test_what_the_client_says_of_it_is_told(room: Rooms) -> None:
    r = room(llm=FakeLlm("A door."))
    await ask(r, "What is this?", DOOR)
    assert r.tts.said == ["A door."]
    assert "You cannot see it. In words, it shows: a red door]\nWhat is this?" in r.llm.asked[0][-1].content
