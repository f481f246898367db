"""What the agent understands and says by rule, in each language: one data file for a language.

[fillers]          words around a sentence that don't change what it means: before, after
[words]            words that mean the same in templates, by name: <set> is one of those called `set`
[phrases]          sentence templates by what they ask for, such as `stop`
[replies]          what the agent says to them, by name
examples           what users say, and how the LLM is to answer: it is shown them before each conversation
[tools.NAME]       of a built-in tool: phrases, follow_ups, cues (see `Tool`)

`templates` says how a template is written. A name with a dot, such as `unable.weather`, is quoted.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from pydantic import BaseModel, ConfigDict

from localvoice.languages.templates import Fillers, Templates

DEFAULT: Final = "en"


class _Fillers(BaseModel):
    model_config = ConfigDict(extra="forbid")

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class ToolPhrases(BaseModel):
    """How people ask for a built-in tool; the fields are those of `Tool`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrases: tuple[str, ...] = ()
    follow_ups: tuple[str, ...] = ()
    cues: tuple[str, ...] = ()


class _LanguageFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fillers: _Fillers = _Fillers()
    words: dict[str, tuple[str, ...]] = {}
    phrases: dict[str, tuple[str, ...]] = {}
    replies: dict[str, str] = {}
    examples: tuple[tuple[str, str], ...] = ()
    tools: dict[str, ToolPhrases] = {}


class Language:
    """One language's file, its templates compiled. Raises `ValueError` for a broken one."""

    def __init__(self, code: str, text: str) -> None:
        """`code` is ISO 639-1; `text` is TOML."""
        data = _LanguageFile.model_validate(tomllib.loads(_with_words(text)))
        self.code: Final = code
        self.fillers: Final = Fillers(data.fillers.before, data.fillers.after)
        self.replies: Final[Mapping[str, str]] = data.replies
        self.examples: Final = data.examples
        self.tools: Final[Mapping[str, ToolPhrases]] = data.tools
        self.phrases: Final[Mapping[str, Templates]] = {
            name: Templates(templates, self.fillers) for name, templates in data.phrases.items()
        }


def _with_words(text: str) -> str:
    """The file with the words in the place of their names."""
    words = {name: f"({'|'.join(each)})" for name, each in tomllib.loads(text).get("words", {}).items()}

    def of(named: re.Match[str]) -> str:
        if named[1] not in words:
            raise ValueError(f"there are no words called {named[1]}: there are {', '.join(words) or 'none'}")
        return words[named[1]]

    return re.sub(r"<(\w+)>", of, text)


@cache
def language(code: str) -> Language | None:
    """The language with this ISO 639-1 code; None where it has no file."""
    if not code.isalpha():
        return None
    path = files(__name__) / f"{code}.toml"
    return Language(code, path.read_text("utf-8")) if path.is_file() else None
