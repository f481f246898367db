"""Which utterances a rule understands, and which come near to one and are for the LLM."""

import time
import tomllib
from collections.abc import Sequence
from typing import Annotated

import pytest
from pydantic import AfterValidator

from localvoice.config import PhraseSettings
from localvoice.conversation.phrases.answers import Facts
from localvoice.conversation.phrases.understanding import MOST_WORDS, Understanding
from localvoice.conversation.phrases.understood import Command, Say, Understood
from localvoice.languages import Language, language
from localvoice.tools import Tool, tool
from localvoice.tools.builtin import builtin_tools
from tests.support.folders import ROOT

DATA = ROOT / "tests" / "support" / "data"
UNDERSTOOD: dict[str, list[str]] = tomllib.loads((DATA / "understood.toml").read_text())
NEAR_MISSES: dict[str, list[str]] = tomllib.loads((DATA / "near_misses.toml").read_text())
RULES = sorted(set(PhraseSettings.model_fields) - {"commands"})
MAKERS = ("qwen", "alibaba", "google", "openai", "chatgpt", "gpt", "meta", "llama", "microsoft", "anthropic")


class Named(Understanding):
    """Tells by which name of the language's file it has understood."""

    name: str | None = None

    def _answer(self, name: str, tools: Sequence[Tool], known: Language) -> Understood | None:
        understood = super()._answer(name, tools, known)
        object.__setattr__(self, "name", name if understood is not None else None)
        return understood


def name_of(words: str, settings: PhraseSettings | None = None, tools: Sequence[Tool] = ()) -> str | None:
    named = Named(settings or PhraseSettings())
    return named.name if named.of(words, tools, None) is not None else None


def said(words: str, *tools: Tool, facts: Facts | None = None) -> str:
    understood = Understanding(facts=facts or Facts()).of(words, tools, None)
    assert isinstance(understood, Say), f"{words}: {understood}"
    return understood.text


def english() -> Language:
    known = language("en")
    assert known is not None
    return known


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_what_people_say_is_understood(name: str) -> None:
    for tools in ((), builtin_tools()):
        heard = {words: name_of(words, tools=tools) for words in UNDERSTOOD[name]}
        assert heard == dict.fromkeys(UNDERSTOOD[name], name)


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_are_for_the_llm(name: str) -> None:
    assert {words: name_of(words) for words in NEAR_MISSES[name]} == dict.fromkeys(NEAR_MISSES[name])


@pytest.mark.parametrize("name", [name for name in UNDERSTOOD if name.startswith("unable.")])
def test_the_built_in_tools_change_nothing_in_what_none_can_do(name: str) -> None:
    tools = builtin_tools()
    for words in UNDERSTOOD[name]:
        assert isinstance(Understanding().of(words, tools, None), Say), words


def test_there_are_many_of_both() -> None:
    assert sum(map(len, UNDERSTOOD.values())) >= 450 and sum(map(len, NEAR_MISSES.values())) >= 250
    known = english()
    untold = {"unable.time", "unable.timer", "goes_on"}
    assert set(known.phrases) - set(UNDERSTOOD) == untold
    assert set(known.served) == {
        name for name in {*known.phrases, *known.loose} if name.startswith("unable.")
    }


def test_an_utterance_is_understood_at_once() -> None:
    name_of("Hello.")  # the language is read
    everything = [words for each in (*UNDERSTOOD.values(), *NEAR_MISSES.values()) for words in each]
    begun = time.process_time()
    for words in everything:
        name_of(words)
    assert (time.process_time() - begun) / len(everything) < 0.01


def test_a_long_text_takes_no_longer() -> None:
    story = "I have a chest and someone is on fire. Sorry, stop. " * 2000
    begun = time.process_time()
    assert name_of(story + "I have chest pain.") is None
    assert name_of("\n".join(["I have chest pain."] * MOST_WORDS)) is None
    assert name_of("word " * (MOST_WORDS - 4) + "I have chest pain.") == "emergency.heart"
    assert time.process_time() - begun < 1


def test_a_long_number_takes_no_longer() -> None:
    tools = builtin_tools()
    begun = time.process_time()
    for words in ("{}", "What is {} plus {}?", "Set a timer for {} minutes.", "Roll {} dice."):
        assert name_of(words.replace("{}", "9" * 950), tools=tools) is None
    assert time.process_time() - begun < 1


def test_a_validator_that_fails_leaves_the_words_to_the_llm(caplog: pytest.LogCaptureFixture) -> None:
    def read(floor: str) -> str:
        return str(1 / int(floor))

    @tool(phrases=["go to floor {floor}"])
    def lift(floor: Annotated[str, AfterValidator(read)]) -> str:
        """Go to a floor."""
        return floor

    assert isinstance(Understanding().of("Go to floor 2.", (lift,), None), Command)
    assert Understanding().of("Go to floor 0.", (lift,), None) is None
    assert "the tool lift can't read what was said: ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_can_be_switched_off(rule: str) -> None:
    off = PhraseSettings.model_validate({rule: False})
    ours = {
        "repeat": "again",
        "courtesies": "goodbye",
        "identity": "identity.name",
        "emergencies": "emergency.heart",
        "limits": "unable.weather",
        "manner": "manner.louder",
    }.get(rule, rule)
    assert {name_of(words, off) for words in UNDERSTOOD[ours]} == {None}
    alone = PhraseSettings.model_validate({each: each == rule for each in RULES})
    assert {name_of(words, alone) for words in UNDERSTOOD[ours]} == {ours}


def test_a_persona_of_ones_own_keeps_stop_words_and_repairs_and_what_is_switched_on() -> None:
    own = Understanding(own_persona=True)
    heard = {name: own.of(sentences[0], (), None) is not None for name, sentences in UNDERSTOOD.items()}
    assert {name for name, understood in heard.items() if understood} == {
        "stop", "stop.asked", "again", "again.slower", "again.louder",
    }  # fmt: skip
    own = Understanding(PhraseSettings(emergencies=True), own_persona=True)
    assert own.of("I have chest pain.", (), None) is not None and own.of("Who are you?", (), None) is None


def test_no_answer_names_another_maker() -> None:
    for name, text in english().replies.items():
        assert not any(maker in text.lower().split() for maker in MAKERS), name


def test_models_of_the_applications_own_may_run_anywhere() -> None:
    assert "offline" in said("Where do you run?")
    own = Facts(own_models=True)
    assert said("Where do you run?", facts=own) == said("Do you record me?", facts=own)
    assert "don't know" in said("Where do you run?", facts=own)
    who = {said(words, facts=own) for words in ("Who are you?", "Who made you?", "Are you ChatGPT?")}
    assert len(who) == 1 and "localvoice" in (answer := who.pop()) and "machine" not in answer
    told = Understanding(PhraseSettings(identity=True), facts=own).of("Where do you run?", (), None)
    assert isinstance(told, Say) and "offline" in told.text
    assert Understanding(facts=own).of("I want to die.", (), None) is not None


def test_an_emergency_names_the_number_of_the_settings() -> None:
    assert "such as 112 or 911" in said("I have chest pain.")
    local = said("I have chest pain.", facts=Facts(emergency_number="144"))
    assert "144" in local and "112" not in local
    assert "112 or 911" in said("What is wrong? I was just sitting there. Now I can't breathe. Please!")


@pytest.mark.parametrize("name", sorted(english().phrases))
def test_each_answer_is_a_sentence_or_a_few(name: str) -> None:
    for words in UNDERSTOOD.get(name, ())[:1]:
        understood = Understanding().of(words, builtin_tools(), None)
        if isinstance(understood, Say):
            text = understood.text
            assert text[0].isupper() and text[-1] in ".!?" and "{" not in text
            assert len(text.split()) <= 75


def test_abilities_are_those_of_the_tools_on_offer() -> None:
    @tool
    def open_door(room: str) -> str:
        """Open a door. It takes a while."""
        return room

    assert "timers" not in said("What can you do?")
    both = said("What can you do?", *builtin_tools(), open_door)
    assert "set timers" in both and "open a door." in both and "takes a while" not in both
    for each in builtin_tools():
        assert each.name in english().abilities, "what it can do is in the language's file"


def test_what_a_tool_on_offer_may_do_is_for_the_llm() -> None:
    @tool
    def get_weather(place: str) -> str:
        """Tell what it is like outside."""
        return place

    @tool
    def jukebox(title: str) -> str:
        """Play a song or an album."""
        return title

    assert "weather" in said("What's the weather like today?", jukebox)
    assert Understanding().of("What's the weather like today?", (get_weather,), None) is None
    assert "play music" in said("Play some jazz.", get_weather)
    assert Understanding().of("Play some jazz.", (jukebox,), None) is None


def test_privacy_is_told_as_it_is() -> None:
    @tool
    def look_up(words: str) -> str:
        """Ask the office."""
        return words

    assert "in memory" in said("Is this private?")
    assert "disk" in said("Is this private?", facts=Facts(kept_on_disk=True))
    assert "never send" not in said("Is this private?", look_up)
