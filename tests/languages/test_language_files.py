"""Each language's file: whole in itself, and what people say in it is understood."""

import tomllib

import pytest

from localvoice.conversation.phrases.understanding import _RULES, Understanding
from localvoice.conversation.phrases.understood import Say
from localvoice.languages import Language, language
from localvoice.tools import Tool
from localvoice.tools.builtin import builtin_tools
from tests.conversation.test_understood import DATA, Named

CODES = ["en", "de"]
SILENT = ("stop", "again", "goes_on")
"""Phrases without an answer of their own."""
GERMAN: dict[str, list[str]] = tomllib.loads((DATA / "understood_de.toml").read_text())


def known(code: str) -> Language:
    found = language(code)
    assert found is not None
    return found


def name_of(words: str, code: str, tools: tuple[Tool, ...] = ()) -> str | None:
    named = Named()
    return named.name if named.of(words, tools, None, code) is not None else None


@pytest.mark.parametrize("code", CODES)
def test_each_kind_of_sentence_has_a_rule_and_an_answer(code: str) -> None:
    for name in known(code).phrases:
        kind = name.partition(".")[0]
        assert kind in _RULES or name == "goes_on", name
        answered = name in known(code).replies or kind in SILENT
        assert answered or kind == "again", name
    assert {name for name in known("de").phrases if name not in known("en").phrases} == set()


@pytest.mark.parametrize("code", CODES)
def test_each_built_in_tool_has_an_ability(code: str) -> None:
    assert {tool.name for tool in builtin_tools()} - known(code).abilities.keys() == set()


@pytest.mark.parametrize("code", CODES)
def test_all_answers_can_be_said(code: str) -> None:
    for name in known(code).phrases:
        understanding = Understanding()
        if name.partition(".")[0] in _RULES:
            answer = understanding._answer(name, builtin_tools(), known(code))
            assert not isinstance(answer, Say) or "{" not in answer.text, name


@pytest.mark.parametrize("name", [name for name in GERMAN if name != "near"])
def test_german_is_understood(name: str) -> None:
    assert {words: name_of(words, "de") for words in GERMAN[name]} == dict.fromkeys(GERMAN[name], name)


def test_german_near_misses_are_for_the_llm() -> None:
    assert {words: name_of(words, "de") for words in GERMAN["near"]} == dict.fromkeys(GERMAN["near"])


def test_words_of_one_language_are_none_in_another() -> None:
    assert name_of("Wer bist du?", "en") is None and name_of("Who are you?", "de") is None
    assert name_of("Who are you?", "xx") is None
