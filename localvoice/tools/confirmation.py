"""Tools that run only with the user's own yes: the question, what the user's answer means, and the call.

The question is made by rule of the call itself, and tells all of it: the user hears each argument to its end.
What can't be read out whole is not asked, and doesn't run. An LLM that obeys a mail chooses the arguments, so
they can't pose as words of the agent: they keep no mark that ends a sentence or a clause, and the last words
that the user hears are fixed and name the tool.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from localvoice.engines.chat import ToolCall
from localvoice.engines.speech_text import speakable
from localvoice.observability.stopwatch import now

LONGEST_QUESTION: Final = 400
"""Characters: half a minute of speech. A user who listens for longer agrees to what they don't remember."""
PATIENCE_SECONDS: Final = 60.0  # after that a yes may be meant for something else

NOT_AGREED: Final = "not run: it needs the user's own yes"
ONE_AT_A_TIME: Final = "not run: the user is asked about another call first; call it again when they answered"
REFUSED: Final = "not run: the user said no"
UNANSWERED: Final = "not run: the user was asked twice and said neither yes nor no"
SETTLED_ALREADY: Final = "not run: the user has just decided about it; call it again only if they ask for it"

_PLEASE_ANSWER: Final = "Please say yes or no."
GIVEN_UP: Final = "I leave it for now."  # after two answers, neither of them a clear yes or no

_FIELD: Final = re.compile(r"\{(\w+)\}")
_MARKUP: Final = re.compile(r"[<>\[\]{}*_#`~|\\^]|(?<=:)//|(?<=www)\.", re.IGNORECASE)
"""What a voice takes for markup and addresses: it would leave out the words inside."""
_UNHEARD: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that are neither seen nor heard, apart from those of the categories below."""
_UNHEARD_KINDS: Final = ("Cc", "Cf", "Cs", "Co")
_HARMLESS: Final = "\t\n\r\u200c\u200d"
_DEEPEST: Final = 8  # levels of an argument: a listener follows no more of them
_WITHIN: Final = {**dict.fromkeys("-'’/.", str.isalnum), **dict.fromkeys(",:", str.isdigit)}
"""Marks that end nothing between two such characters: "I'm", "example.org", "12:30"."""
_SPOKEN: Final = "&@%§"  # marks that a voice has a word for
_VERB: Final = re.compile(r"\b(?:(?:shall|should|may|can) i|want me to) ([a-z]+)\b", re.IGNORECASE)
_OBJECTS: Final = ("it", "that", "this", "them", "him", "her")
_DENIALS: Final = frozenset({"no", "not", "never", "dont", "without"})  # as in "no_reply": not agreed with


@dataclass(frozen=True)
class Question:
    """What the user is asked before one call runs."""

    text: str
    ending: str  # the text's last sentence, which names the tool and asks for yes or no
    own_words: tuple[str, ...]  # what a user may repeat with a yes or a no, in small letters: "send it"


def check_question(name: str, confirm: bool | str, parameters: Mapping[str, Any]) -> None:
    """Raises ValueError if the tool can't ask its `confirm` before each of its calls."""
    if isinstance(confirm, bool):
        return
    named, known = set(_FIELD.findall(confirm)), parameters.get("properties", {})
    if unknown := sorted(named - set(known)):
        raise ValueError(f"the tool {name} asks about {', '.join(unknown)}, which is none of its parameters")
    if untold := sorted(set(parameters.get("required", ())) - named):
        raise ValueError(
            f"the question of the tool {name} must tell all that it is given; name {', '.join(untold)} in it"
        )
    if not speakable(confirm):
        raise ValueError(f"the question of the tool {name} has no words: give it some, or confirm=True")


def question_of(name: str, confirm: bool | str, arguments: Mapping[str, Any]) -> Question:
    """What to ask before this call runs. Raises ValueError, in words for the LLM, if not all can be told."""
    told = {key: _told(value) for key, value in arguments.items()}
    spoken_name = _cleaned(name.replace("-", " "))
    ending = f"Shall I use {spoken_name}, yes or no?"
    if isinstance(confirm, str) and set(_FIELD.findall(confirm)) == set(told):
        own = _FIELD.sub(lambda found: told[found[1]], confirm).strip()
        text = f"{own if own.endswith(('.', '!', '?')) else own + '.'} {ending}"
    elif told:
        given = ", ".join(f"{_told(key)}: {value}" for key, value in told.items())
        text = f"I would use {spoken_name} with {given}. {ending}"
    else:
        text = ending
    if len(text) > LONGEST_QUESTION:
        raise _untold("are too long to be read out: make them shorter")
    if _letters(speakable(text)) != _letters(text):
        raise _untold("can't be read out: use plain words")
    return Question(text, ending, tuple(_own_words(name, confirm)))


def _own_words(name: str, confirm: bool | str) -> Iterator[str]:
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+", name)]
    verbs = {"use", *words[:1]}
    if isinstance(confirm, str):
        verbs |= {verb.lower() for verb in _VERB.findall(_FIELD.sub(" ", confirm))}
    for verb in sorted(verbs - _DENIALS):
        yield from (f"{verb} {each}" for each in _OBJECTS)
    if len(words) > 1 and words[0] not in _DENIALS:
        yield " ".join(words)
        yield " ".join((words[0], "the", *words[1:]))


def _told(value: Any, depth: int = 0) -> str:
    """An argument, or the key of one, in words. Marks between words would end a clause, so it has none."""
    if depth > _DEEPEST:
        raise _untold("are nested too deeply to be read out")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = [f"{_told(str(key), depth + 1)} {_told(each, depth + 1)}" for key, each in value.items()]
    elif isinstance(value, list):
        value = [_told(each, depth + 1) for each in value]
    else:
        text = _cleaned("" if value is None else str(value))
        told = " ".join("".join(_kept(text, at) for at in range(len(text))).split())
        if text and not any(map(_is_heard, told)):
            raise _untold("can't be read out: use plain words")
        return told or "nothing"
    return " and ".join(value) or "nothing"


def _kept(text: str, at: int) -> str:
    """The character at that place, or a space for a mark at which a voice would pause."""
    character, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    category = unicodedata.category(character)
    if category == "Pd":
        character = "-"
        if after.isdigit() and not before.isalnum():
            return character  # a minus
    if category[0] != "P" or character in _SPOKEN:
        return character
    fits = _WITHIN.get(character, lambda _: False)
    return character if before and after and fits(before) and fits(after) else " "


def _is_heard(character: str) -> bool:
    return character.isalnum() or (not character.isspace() and character in speakable(f"1 {character} 1"))


def _untold(why: str) -> ValueError:
    return ValueError(f"the user must agree first, and the arguments {why}")


def _cleaned(text: str) -> str:
    """The text without markup, on one line; none of its words is lost. Raises ValueError."""
    if _UNHEARD.search(text) or any(
        unicodedata.category(character) in _UNHEARD_KINDS and character not in _HARMLESS for character in text
    ):
        raise _untold("have characters that can't be heard")
    return " ".join(_MARKUP.sub(" ", unicodedata.normalize("NFKC", text)).split())


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


class Consent(StrEnum):
    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


_MOST_WORDS: Final = 8
_PLAIN: Final = re.compile(r"[a-z\s.,!;'’…-]*")
"""What a clear answer is written with: no question mark, brackets, or foreign letters that look alike."""
_WORD: Final = re.compile(r"[a-z]+(?:['’][a-z]+)*")
_BEFORE: Final = r"(?:(?:oh|well|um|uh|er|erm|hm+|ah|so|and|hey|please) )*"
_AFTER: Final = r"(?:(?:please|thanks|thank you|now|then|sir|ma'am|madam) )*"
_YES: Final = (
    r"yes|yeah|yep|yup|yes you (?:may|can|should)|you may|sure|sure thing|of course|certainly|absolutely|"
    r"definitely|by all means|please do|go ahead|go for it|do it|do that|do so|(?:that's |that is )?correct|"
    r"(?:that's|that is) (?:right|fine|perfect)|(?:that )?sounds (?:good|great|fine|right|perfect)|"
    r"(?:that )?works for me|that works|i'm sure|i am sure|(?:i )?confirm(?:ed)?|i agree|agreed|"
    r"ok|okay|all right|alright|yes i do"
)
_LEAD: Final = r"(?:just |go ahead and |you (?:can|may|should) )?"
_NO: Final = (
    r"no|nope|nah|no way|(?:please )?(?:don't|do not)(?: do (?:it|that|so))?|no you (?:may not|shouldn't)|"
    r"stop(?: (?:it|that))?|cancel(?: (?:it|that))?|never mind|nevermind|leave it|not (?:now|yet|today)|"
    r"(?:i don't|i do not) want (?:it|that|to)|"
    r"(?:i'd |i would )?rather not|better not|(?:absolutely|certainly|definitely|of course) not"
)


def consent(text: str, own_words: Sequence[str] = ()) -> Consent:
    """What a whole utterance, spoken or typed, says to a question that waits for a yes.

    `own_words` are phrases of the question, in small letters, that either may repeat: "send it". Where the
    user says more ("yes, but tomorrow") it is unclear: what else they say would be lost. It is unclear, too,
    where their words fit both, as "cancel it" does when the question is whether to cancel.
    """
    lowered = text.lower()
    words = _WORD.findall(lowered)
    if _PLAIN.fullmatch(lowered) is None or not 0 < len(words) <= _MOST_WORDS:
        return Consent.UNCLEAR
    said = "".join(f"{word} " for word in words).replace("’", "'")
    own = "|".join(map(re.escape, own_words)) or "(?!)"
    agreed = _phrases(rf"{_YES}|{_LEAD}(?:{own})").fullmatch(said)
    no = rf"{_NO}|(?:please )?(?:don't|do not|never) (?:{own})"
    refused = _phrases(rf"(?:ok |okay )?{_LEAD}(?:{no})").fullmatch(said)
    if agreed and not refused:
        return Consent.YES
    return Consent.NO if refused and not agreed else Consent.UNCLEAR


def _phrases(what: str) -> re.Pattern[str]:
    """One or more of them, each word followed by a space."""
    return re.compile(rf"{_BEFORE}(?:(?:{what}) {_AFTER})+")


@dataclass(frozen=True, eq=False)
class Confirmation:
    """A call that the user has been asked about. Only what they say next can settle it."""

    call: ToolCall  # what runs if they agree: a copy of its own, made together with the question
    question: Question
    expires: float = 0.0  # until when they may agree, the event loop's time
    repeated: bool = False  # they are asked again: their first answer was unclear or came too early
    whole: bool = False  # they have heard the question to its end; otherwise a yes has them asked again

    @classmethod
    def of(cls, call: ToolCall, question: Question) -> "Confirmation":
        """The call as it is now. Its copy has an id of its own, since the call itself is answered already."""
        own = ToolCall(f"{call.call_id}-agreed", call.name, deepcopy(dict(call.arguments)))
        return cls(own, question)

    def heard(self, whole: bool = True) -> "Confirmation":
        """The user has just heard the question: the whole of it, or into its last sentence."""
        return replace(self, expires=now() + PATIENCE_SECONDS, whole=whole)

    def heard_in(self, words: Sequence[str]) -> "Confirmation | None":
        """As `heard`, if these words, which the user heard, end with the question or in its last sentence."""
        asked = self.question.text.split()
        for missing in range(len(self.question.ending.split()) + 1):
            part = asked[: len(asked) - missing]
            if part and list(words[-len(part) :]) == part:
                return self.heard(whole=not missing)
        return None

    def answered(self, words: str) -> "Settled | Confirmation | None":
        """What these words make of it: settled, or to be asked once more; None if they come too late."""
        if now() > self.expires:
            return None
        answer = consent(words, self.question.own_words)
        too_early = answer is Consent.YES and not self.whole
        if too_early or (answer is Consent.UNCLEAR and not self.repeated):
            shorter = replace(self.question, text=f"{_PLEASE_ANSWER} {self.question.ending}")
            return replace(self, question=shorter, repeated=True)
        return Settled(self.call, answer)


@dataclass(frozen=True, eq=False)
class Settled:
    """The user has answered, or was asked twice."""

    call: ToolCall
    answer: Consent  # only a yes lets it run
