"""What a whole utterance asks for, where it takes no language model to know.

Small and exact: what isn't sure is left to the LLM. Only signs of an emergency may stand anywhere in what is
said. The sentences are in `localvoice/languages`, one file for a language, and with the tools themselves.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from localvoice.config import PhraseSettings
from localvoice.conversation.phrases.abilities import is_served
from localvoice.conversation.phrases.answers import DANGERS, Facts, answer
from localvoice.conversation.phrases.clauses import (
    brief_wishes,
    clauses_of,
    joint_wish,
    parts,
    sentences_of,
)
from localvoice.conversation.phrases.repeating import asks_again_for_part
from localvoice.conversation.phrases.several import Several
from localvoice.conversation.phrases.tool_sentences import called, called_again, templates_of
from localvoice.conversation.phrases.understood import Command, Understood
from localvoice.engines.chat import ToolCall
from localvoice.languages import DEFAULT, Language, language
from localvoice.languages.templates import LONGEST, PLAIN, plain
from localvoice.tools import Tool

log = logging.getLogger(__name__)

MOST_WORDS: Final = 200
"""Of an utterance that is looked at: more than a minute of speech. What is typed may be a book."""
MOST_CHARACTERS: Final = 10 * MOST_WORDS
_ALWAYS: Final = ("stop", "repeat")
"""Rules that also hold for a persona of the application's own. So do the sentences of its tools."""
_RULES: Final = {
    "stop": "stop",
    "again": "repeat",
    "manner": "manner",
    "goodbye": "courtesies",
    "thanks": "courtesies",
    "declined": "courtesies",
    "abilities": "abilities",
    "help": "abilities",
    "identity": "identity",
    "emergency": "emergencies",
    "harm": "emergencies",
    "unable": "limits",
}
"""The setting of each kind of sentence."""
_OF_PICTURES: Final = ("unable.sight", "unable.pictures")
"""What can be done where pictures wait, or is declined in better words."""
_BEFORE_COMMANDS: Final = ("stop", "again")
"""What goes before the sentences of tools, of which one may take any word."""
_WISHES: Final = ("stop", "again", "manner")
"""What people say in several clauses: "You're too fast. Say that again."."""


@dataclass(frozen=True)
class Understanding:
    """Which utterances an agent understands by rule."""

    settings: PhraseSettings = field(default_factory=PhraseSettings)
    own_persona: bool = False
    """Whether the application has a prompt or a playbook of its own: then only stop words and repairs apply,
    unless the settings say more."""
    facts: Facts = field(default_factory=Facts)
    overlooked: tuple[str, ...] = ()
    """Names of what is not meant now."""

    def prepare(self, tools: Iterable[Tool], code: str = DEFAULT) -> None:
        """Read the sentences of the language and of these tools, in a thread: not in the first turn."""
        known = language(code)
        for tool in tools:
            for sentences in (tool.phrases, tool.loose, tool.unless, tool.follow_ups):
                templates_of(tool, sentences, PLAIN if known is None else known.usage)

    def of(
        self,
        words: str,
        tools: Sequence[Tool],
        last_call: ToolCall | None,
        code: str = DEFAULT,
        last_answer: str = "",
    ) -> Understood | None:
        """What these words ask for; None if it takes the LLM to know.

        `tools` are those on offer. `last_call` is of the turn before, if that called one: "and in Tokyo?"
        means something then. `code` is the language, ISO 639-1. `last_answer` is what the user has heard.
        """
        if len(words) > MOST_CHARACTERS or len(words.split()) > MOST_WORDS:
            return None
        known = language(code)
        if known is None:
            return self._command(words, tools, last_call, None)
        if (danger := self._danger(words, known)) is not None:
            return self._answer(danger, tools, known)
        if len(words.split()) <= LONGEST:
            wish = joint_wish(words, known, lambda clause: self._wished(clause, known))
            if wish is not None:
                return self._answer(wish, tools, known)
            if (commands := self._several(words, tools, last_call, known)) is not None:
                return commands
        for part in parts(words, known):
            if (understood := self._whole(part, tools, last_call, known)) is not None:
                return understood
        if self._applies("again") and asks_again_for_part(words, last_answer, known):
            return self._answer("again", tools, known)
        return self._loosely(words, tools, known) or self._among_others(words, tools, known)

    def of_pictures(self) -> "Understanding":
        """The same where pictures wait: "what does this label say?" is about them."""
        return replace(self, overlooked=_OF_PICTURES)

    @property
    def looks_for_danger(self) -> bool:
        """Whether the LLM is to judge what may be a danger."""
        return self._applies("emergency")

    def sign_of_danger(self, words: str, code: str = DEFAULT) -> str | None:
        """The danger of which these words may tell, though no sentence for it is known: the LLM can judge."""
        known = language(code)
        if known is None or len(words.split()) > MOST_WORDS:
            return None
        return None if known.excuses("emergency", words) else known.sign(words)

    def help(self, danger: str, code: str = DEFAULT) -> Understood | None:
        """What is said to someone in this danger."""
        known = language(code)
        return None if known is None else self._answer(danger, (), known)

    def goes_on(self, words: str, code: str = DEFAULT) -> bool:
        """Whether these words may change or repeat what was just asked for: "and in Tokyo?"."""
        known = language(code)
        return known is not None and "goes_on" in known.phrases and known.phrases["goes_on"].fit(words)

    def _applies(self, name: str) -> bool:
        rule = _RULES.get(name.partition(".")[0])
        if rule is None or name in self.overlooked:
            return False
        chosen: bool | None = getattr(self.settings, rule)
        if chosen is not None:
            return chosen
        return rule in _ALWAYS or not self.own_persona

    def _danger(self, words: str, known: Language) -> str | None:
        """The emergency, or the harm, that a sentence tells of, or all of them together."""
        meant = [each for each in sentences_of(words) if not known.excuses("emergency", each)]
        if len(meant) > 1 and "".join(meant) == "".join(sentences_of(words)):
            meant.append(words)
        for name in known.phrases:
            if name.startswith(DANGERS) and self._applies(name):
                if any(known.means(name, each) for each in meant):
                    return name
        return None

    def _wished(self, clause: str, known: Language) -> str | None:
        meant = (
            name
            for name in known.loose
            if name.startswith(_WISHES) and self._applies(name) and known.may_mean(name, clause)
        )
        return next(meant, None)

    def _whole(
        self, words: str, tools: Sequence[Tool], last_call: ToolCall | None, known: Language
    ) -> Understood | None:
        meant = (
            name
            for name in known.phrases
            if not name.startswith(DANGERS) and self._applies(name) and known.means(name, words)
        )
        name = next(meant, None)
        if name is None or not name.startswith(_BEFORE_COMMANDS):
            command = self._command(words, tools, last_call, known)
            if command is not None:
                return command
        return None if name is None else self._answer(name, tools, known)

    def _among_others(self, words: str, tools: Sequence[Tool], known: Language) -> Understood | None:
        """What one of several sentences asks of a tool, where no other one asks for anything."""
        sentences = sentences_of(words)
        if len(sentences) == 1 or len(words.split()) > 2 * LONGEST:
            return None
        commands = [self._command(each, tools, None, known) for each in sentences]
        asked = [command for command in commands if command is not None]
        others = [each for each, command in zip(sentences, commands, strict=True) if command is None]
        if not others and _are_questions(sentences):
            return replace(asked[0], then=tuple(asked[1:]))
        if len(asked) == 1 and not any(each.endswith("?") for each in others):
            return asked[0]
        return None

    def _loosely(self, words: str, tools: Sequence[Tool], known: Language) -> Understood | None:
        """By what stands in the words, where nothing is known more exactly."""
        if len(words.split()) > LONGEST:
            return None
        if (command := self._loose_command(words, tools, known)) is not None:
            return command
        for name in brief_wishes(words, known):
            if self._applies(name):
                return self._answer(name, tools, known)
        clauses = tuple({*sentences_of(words), *clauses_of(words)} - {words.strip()})
        meant = [
            name for name in known.loose if self._applies(name) and _may_mean(known, name, words, clauses)
        ]
        if not meant:
            return None
        if meant[0].startswith("unable."):
            if any(is_served(name, tools, known) for name in (*meant, *known.meanings(words))):
                return None
        return self._answer(meant[0], tools, known)

    def _loose_command(self, words: str, tools: Sequence[Tool], known: Language) -> Command | None:
        if self.settings.commands is False or _are_questions(_meant(words, known)):
            return None
        for tool in tools:
            command = called(tool, tool.loose, words, known.usage)
            if command is not None and not templates_of(tool, tool.unless, known.usage).fit(words):
                return command
        return None

    def _several(
        self, words: str, tools: Sequence[Tool], last_call: ToolCall | None, known: Language
    ) -> Command | None:
        def read(part: str, last: ToolCall | None) -> Command | None:
            return self._command(part, tools, last, known) or self._loose_command(part, tools, known)

        return Several(known.joints, read).of(plain(words), last_call)

    def _answer(self, name: str, tools: Sequence[Tool], known: Language) -> Understood | None:
        own_models = self.facts.own_models and self.settings.identity is None
        return answer(name, tools, known, replace(self.facts, own_models=own_models))

    def _command(
        self, words: str, tools: Sequence[Tool], last_call: ToolCall | None, known: Language | None
    ) -> Command | None:
        if self.settings.commands is False:
            return None
        usage = PLAIN if known is None else known.usage
        for tool in tools:
            if last_call is not None and last_call.name in (tool.name, *tool.follows):
                before = last_call.arguments if last_call.name == tool.name else {}
                if (command := called_again(tool, words, usage, before)) is not None:
                    return command
        for tool in tools:
            if (command := called(tool, tool.phrases, words, usage)) is not None:
                return command
        return None


def _meant(words: str, known: Language) -> list[str]:
    """Its sentences, without "excuse me?" and the like."""
    return [each for each in sentences_of(words) if not known.fillers.fit(each)]


def _are_questions(sentences: Sequence[str]) -> bool:
    """Whether they are several, and each is one."""
    return len(sentences) > 1 and all(each.endswith("?") for each in sentences)


def _may_mean(known: Language, name: str, words: str, clauses: Sequence[str]) -> bool:
    return known.may_mean(name, words, () if name.startswith(_WISHES) else clauses)
