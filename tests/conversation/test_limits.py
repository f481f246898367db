"""What no tool can do, and who the agent is: said in people's own words, with much around them."""

import tomllib

import pytest

from localvoice.conversation.phrases.answers import Facts
from localvoice.conversation.phrases.understanding import Understanding
from localvoice.conversation.phrases.understood import Say
from localvoice.tools import tool
from localvoice.tools.builtin import builtin_tools
from localvoice.version import __version__
from tests.conversation.test_understood import DATA, english, name_of, said

SAID: dict[str, list[str]] = tomllib.loads((DATA / "limits.toml").read_text())
NEAR = SAID.pop("near")


@pytest.mark.parametrize("name", SAID)
def test_they_are_understood_as_people_say_them(name: str) -> None:
    tools = builtin_tools()
    assert {words: name_of(words, tools=tools) for words in SAID[name]} == dict.fromkeys(SAID[name], name)


def test_what_comes_near_is_for_the_llm() -> None:
    tools = builtin_tools()
    assert {words: name_of(words, tools=tools) for words in NEAR} == dict.fromkeys(NEAR)


def test_each_name_has_its_sentences_and_an_answer() -> None:
    known = english()
    names = {name for name in known.loose if name.startswith(("unable.", "identity.", "abilities"))}
    assert names == set(SAID) and names <= set(known.replies)


@pytest.mark.parametrize("name", [name for name in SAID if name.startswith("unable.")])
def test_a_tool_on_offer_that_may_do_it_is_asked(name: str) -> None:
    word = english().served[name][0]

    @tool(name=f"do_{word}")
    def own(words: str) -> str:
        """Do it."""
        return words

    for words in SAID[name]:
        assert not isinstance(Understanding().of(words, (own,), None), Say), words


def test_who_it_is_is_told_as_it_is() -> None:
    assert __version__ in said("What version are you?")
    assert "Apache" in said("Are you open source?")
    own = Facts(own_models=True)
    for words in ("Do you learn from me?", "Is this free to use?", "How recent is your knowledge?"):
        assert "don't know" in said(words, facts=own) and "don't know" not in said(words)
    assert "never send" in said("Is this private?")
