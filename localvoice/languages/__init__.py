"""What the agent understands and says by rule, in each language: one data file for a language.

[fillers]          words around a sentence that don't change what it means: before, after;
                   and aside: whole clauses that don't change what stop words and repairs mean
joints             words that join two commands in one sentence: "and"
[same]             other ways to say a word: "is not" for "isn't"
[words]            words that mean the same in templates, by name: <set> is one of those called `set`
[phrases]          sentence templates by what they ask for, such as `stop`
[loose]            by the same names: what is tried last, and may leave much of what is said open
[brief]            by the same names: a clause that means this whatever few words stand before or after it
[unless]           by the same names: what is not meant, though it fits those
[parts]            how a part of a short answer is asked for again, by what the answer must then hold: number,
                   name, anything
[replies]          what the agent says to them, by name
examples           what users say, and how the LLM is to answer: it is shown them before each conversation
simple_examples    those for the smallest models, which repeat what they are shown
[danger]           words that may tell of danger, by the reply to it, and how the LLM is asked about it
[abilities]        what a built-in tool can do, by its name
[served]           by what no tool of ours can do: words that show that a tool can, in its name or description
[tools.NAME]       of a built-in tool: phrases, loose, unless, follow_ups, cues (see `Tool`)

`templates` says how a template is written. A name with a dot, such as `unable.weather`, is quoted.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from pydantic import BaseModel, ConfigDict

from localvoice.languages.templates import Templates, Usage

DEFAULT: Final = "en"


class _Fillers(BaseModel):
    model_config = ConfigDict(extra="forbid")

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()


class ToolPhrases(BaseModel):
    """How people ask for a built-in tool; the fields are those of `Tool`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrases: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    follow_ups: tuple[str, ...] = ()
    cues: tuple[str, ...] = ()


class Danger(BaseModel):
    """How the LLM is asked whether someone may be in danger, where no sentence is known for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    """What the LLM is told."""
    help: str
    """What the tool is for that it calls if so."""
    examples: tuple[tuple[str, bool], ...]
    """What users say, and whether they, or someone, may be in danger."""
    signs: dict[str, tuple[str, ...]]
    """Words of which one must be there for it to be asked, by the reply that is then given: the one with most
    of its words there, and the first of several. "bleed*" is the beginning of a word; in "hit * head" up to
    four words may stand between; "(his|her) chest" is one of two."""


class _LanguageFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fillers: _Fillers = _Fillers()
    same: dict[str, tuple[str, ...]] = {}
    words: dict[str, tuple[str, ...]] = {}
    phrases: dict[str, tuple[str, ...]] = {}
    loose: dict[str, tuple[str, ...]] = {}
    brief: dict[str, tuple[str, ...]] = {}
    unless: dict[str, tuple[str, ...]] = {}
    parts: dict[str, tuple[str, ...]] = {}
    replies: dict[str, str] = {}
    joints: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    simple_examples: tuple[tuple[str, str], ...] = ()
    danger: Danger | None = None
    abilities: dict[str, str] = {}
    served: dict[str, tuple[str, ...]] = {}
    tools: dict[str, ToolPhrases] = {}


class Language:
    """One language's file, its templates compiled. Raises `ValueError` for a broken one."""

    def __init__(self, code: str, text: str) -> None:
        """`code` is ISO 639-1; `text` is TOML."""
        data = _LanguageFile.model_validate(tomllib.loads(text))
        self.code: Final = code
        words = {name: f"({'|'.join(each)})" for name, each in data.words.items()}
        self.usage: Final = Usage(data.fillers.before, data.fillers.after, words, data.same)
        self.fillers: Final = Templates([*data.fillers.before, *data.fillers.after], self.usage)
        self.asides: Final = Templates(data.fillers.aside, self.usage)
        self.replies: Final[Mapping[str, str]] = data.replies
        self.examples: Final = data.examples
        self.simple_examples: Final = data.simple_examples
        self.joints: Final = data.joints
        self.abilities: Final[Mapping[str, str]] = data.abilities
        self.served: Final[Mapping[str, tuple[str, ...]]] = data.served
        self.tools: Final[Mapping[str, ToolPhrases]] = data.tools
        self.phrases: Final = self._compiled(data.phrases)
        self.loose: Final = self._compiled(data.loose)
        self.brief: Final = self._compiled(data.brief)
        self.parts: Final = self._compiled(data.parts)
        self._unless: Final = self._compiled(data.unless)
        self.danger: Final = data.danger
        signs = {} if data.danger is None else data.danger.signs
        self._signs: Final = {name: _pattern(words) for name, words in signs.items()}

    def means(self, name: str, utterance: str) -> bool:
        """Whether the whole utterance asks for this; the name is one of `phrases`."""
        return self.phrases[name].fit(utterance) and not self.excuses(name, utterance)

    def meanings(self, utterance: str) -> Iterator[str]:
        """Names of all that the whole utterance asks for."""
        return (name for name in self.phrases if self.means(name, utterance))

    def may_mean(self, name: str, utterance: str, clauses: Sequence[str] = ()) -> bool:
        """Whether the utterance, or a clause of it, asks for this by what stands in it.

        The name is one of `loose`. What is not meant by the whole kind, such as `unable`, counts here too.
        """
        if not self.loose[name].fit_in(utterance, clauses):
            return False
        return not any(self.excuses(each, utterance) for each in (name, name.partition(".")[0]))

    def excuses(self, name: str, utterance: str) -> bool:
        """Whether the utterance says that this is not meant."""
        return name in self._unless and self._unless[name].fit(utterance)

    def sign(self, utterance: str) -> str | None:
        """The danger of which most words in the utterance may tell, one of `replies`."""
        found = {name: len(set(words.findall(utterance.lower()))) for name, words in self._signs.items()}
        return max(found, key=lambda name: found[name]) if any(found.values()) else None

    def _compiled(self, sentences: Mapping[str, tuple[str, ...]]) -> Mapping[str, Templates]:
        return {name: Templates(templates, self.usage) for name, templates in sentences.items()}


def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    any_of = "|".join(_telling(word) for word in words)
    return re.compile(rf"(?<!\w)(?:{any_of})(?!\w)", re.IGNORECASE)


def _telling(sign: str) -> str:
    """As a regular expression."""
    exact = re.escape(sign).replace("'", "['’]").replace(r"\(", "(?:").replace(r"\|", "|").replace(r"\)", ")")
    return exact.replace(r"\ \*\ ", r"\W+(?:[\w'’]+\W+){0,4}?").replace(r"\*", r"\w*")


@cache
def language(code: str) -> Language | None:
    """The language with this ISO 639-1 code; None where it has no file."""
    if not code.isalpha():
        return None
    path = files(__name__) / f"{code}.toml"
    return Language(code, path.read_text("utf-8")) if path.is_file() else None
