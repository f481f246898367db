"""What a whole utterance asks for, where it takes no language model to know.

Small and exact: what isn't sure is left to the LLM. The sentences are in `localvoice/languages`, one file for
a language, and with the tools themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from localvoice.config import PhraseSettings
from localvoice.engines.types import ToolCall
from localvoice.languages import DEFAULT, Language, language
from localvoice.languages.templates import NO_FILLERS, Fillers, Templates
from localvoice.tools import InvalidArgumentsError, Tool
from localvoice.tools.confirmation import Confirmation, Settled


@dataclass(frozen=True)
class Silence:
    """The user wants to hear nothing more."""


@dataclass(frozen=True)
class Again:
    """The user wants to hear the last answer again."""


@dataclass(frozen=True)
class Say:
    """The answer is known."""

    text: str


@dataclass(frozen=True)
class Command:
    """The user wants this tool, with these arguments."""

    name: str
    arguments: Mapping[str, Any]


Understood = Silence | Again | Say | Command
Known = Settled | Confirmation | Understood | None
"""What is known of the user's words before the LLM is asked: they settle a question about a call, or have it
asked again; or they ask for something that takes no LLM to know."""


@dataclass(frozen=True)
class Understanding:
    """Which utterances an agent understands by rule."""

    settings: PhraseSettings = field(default_factory=PhraseSettings)
    own_persona: bool = False
    """Whether the application has a prompt or a playbook of its own: then only stop words and repairs apply,
    unless the settings say more."""

    def prepare(self, tools: Iterable[Tool], code: str = DEFAULT) -> None:
        """Compile the sentences of these tools, in a thread: it takes too long for the first turn."""
        known = language(code)
        fillers = NO_FILLERS if known is None else known.fillers
        for tool in tools:
            for sentences in (tool.phrases, tool.follow_ups):
                _templates(sentences, fillers).fit("")

    def of(
        self, words: str, tools: Sequence[Tool], last_call: ToolCall | None, code: str = DEFAULT
    ) -> Understood | None:
        """What these words ask for; None if it takes the LLM to know.

        `tools` are those on offer. `last_call` is of the turn before, if that called one: "and in Tokyo?"
        means something then. `code` is the language, ISO 639-1.
        """
        known = language(code)
        if known is not None:
            if self._applies("stop") and known.phrases["stop"].fit(words):
                return Silence()
            if self._applies("repeat") and known.phrases["again"].fit(words):
                return Again()
        if self._applies("commands"):
            return _command(words, tuple(tools), last_call, known)
        return None

    def goes_on(self, words: str, code: str = DEFAULT) -> bool:
        """Whether these words may change or repeat what was just asked for: "and in Tokyo?"."""
        known = language(code)
        return known is not None and known.phrases["goes_on"].fit(words)

    def _applies(self, rule: str) -> bool:
        chosen: bool | None = getattr(self.settings, rule)
        return (rule in _ALWAYS or not self.own_persona) if chosen is None else chosen


_ALWAYS: Final = ("stop", "repeat", "commands")
"""Rules that also hold for a persona of the application's own: its tools' phrases are its own as well."""


def _command(
    words: str, tools: Sequence[Tool], last_call: ToolCall | None, known: Language | None
) -> Command | None:
    fillers = NO_FILLERS if known is None else known.fillers
    for tool in tools:
        if last_call is not None and last_call.name in (tool.name, *tool.follows):
            before = last_call.arguments if last_call.name == tool.name else {}
            for changed in _templates(tool.follow_ups, fillers).matches(words):
                if _fits(tool, arguments := {**before, **changed}):
                    return Command(tool.name, arguments)
    for tool in tools:
        for arguments in _templates(tool.phrases, fillers).matches(words):
            if _fits(tool, arguments):
                return Command(tool.name, arguments)
    return None


@lru_cache(maxsize=256)
def _templates(sentences: tuple[str, ...], fillers: Fillers) -> Templates:
    return Templates(sentences, fillers)


def _fits(tool: Tool, arguments: Mapping[str, Any]) -> bool:
    """Whether the tool takes what stands in the places of its sentence."""
    try:
        tool.validate(arguments)
    except InvalidArgumentsError:
        return False
    return True
