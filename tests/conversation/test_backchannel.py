"""Which transcripts leave the floor to the agent."""

import pytest

from localvoice.conversation.phrases.backchannels import is_backchannel


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "...",
        "Mm-hm.",
        "Mm-hmm, yeah.",
        "Mhm",
        "Hmm…",
        "Uh-huh!",
        "M.M.",
        "Ah.",
        "Oh, I see.",
        "Oh really?",
        "Yeah",
        "Yeah, yeah, okay.",
        "Right.",
        "All right",
        "OK.",
        "That makes sense.",
        "Ha ha ha!",
        "Hahaha",
        "(laughs)",
        "[cough] (door slams)",
        "*sighs* Okay.",
        "♪♪",
        "Uh-uh.",
        "Uh uh",
        "Um",
        "Uh...",
        "Huh.",
        "Er, erm.",
        "That's right.",
        "That’s true!",
        "Absolutely.",
        "Perfect.",
        "Yeah, I know.",
        "Oh, I understand.",
        "Thanks.",
        "Okay, thanks!",
    ],
)
def test_left_to_the_agent(text: str) -> None:
    assert is_backchannel(text, "en")


@pytest.mark.parametrize(
    "text",
    [
        "Stop.",
        "Wait!",
        "No.",
        "No, no, no.",
        "Hold on.",
        "Um, wait.",
        "That's right, but why?",
        "That's wrong.",
        "Perfect, and what about Rome?",
        "I know a better one.",
        "Thanks, that's enough.",
        "What?",
        "Yeah, but why?",
        "Okay, stop.",
        "I see a problem.",
        "Right or left?",
        "(laughs) Tell me more.",
        "Home",
        "42",
        "Thank you.",
        "停",
    ],
)
def test_asks_for_the_floor(text: str) -> None:
    assert not is_backchannel(text, "en")


@pytest.mark.parametrize("text", ["Yeah.", "Okay", "No.", "Right", "Uh-huh", "Mm-hm.", "That's right", "Um"])
def test_after_a_question_it_is_an_answer(text: str) -> None:
    assert not is_backchannel(text, "en", asked=True)


@pytest.mark.parametrize("text", ["", "Ha ha.", "(laughs)"])
def test_after_a_question_a_laugh_is_none(text: str) -> None:
    assert is_backchannel(text, "en", asked=True)


@pytest.mark.parametrize(
    ("language", "said", "real"),
    [
        ("de", "Ähm, das stimmt, danke.", "Danke, das reicht."),
        ("fr", "Euh, c’est vrai, merci.", "Merci, ça suffit."),
        ("es", "Perfecto, gracias.", "Gracias, ya basta."),
        ("de", "Ja, genau.", "Ja, aber warum?"),
        ("fr", "Ah oui, d’accord.", "Attends."),
        ("es", "Sí, sí, claro.", "Espera."),
        ("fi", "Mm-hm, hahaha.", "Yeah."),
    ],
)
def test_each_language_has_its_own(language: str, said: str, real: str) -> None:
    assert is_backchannel(said, language)
    assert not is_backchannel(real, language)
