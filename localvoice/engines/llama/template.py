"""A model's chat template, and what it can't do: found out once, so that all turns are written alike.

Templates differ in whether they take a system prompt, a conversation that the assistant begins, or one in
which the user has said nothing yet. What one refuses is said in a form that it takes.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_cpp.llama_chat_format import CHATML_CHAT_TEMPLATE, Jinja2ChatFormatter

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.llama.tool_prompt import Turn
from localvoice.engines.reasoning import CHANNEL, CHANNELS_BEGIN, FINAL_CHANNEL, left_open

logger = logging.getLogger(__name__)

_PROBE: Final = "Is this here?"
_ANSWER: Final = "It is there."
_RULE: Final = "Look for it."
"""Messages of the user, the assistant and the system, looked for in what a chat template makes of them."""
_GREETING: Final = "Hello."
"""What the user is taken to have said, where a template needs it."""
_ASIDES: Final[Mapping[str, Any]] = {"enable_thinking": False}
"""What templates of models that reason look at: a listener doesn't wait for it."""


class ChatTemplate:
    """Makes the text of a prompt; of any thread."""

    def __init__(self, name: str, template: str, bos: str, eos: str) -> None:
        """The template of the model `name`; ChatML where it has none, or one that can't be used."""
        self._name = name
        self._bos, self._eos = bos, eos
        self.in_parts = False
        """Whether it loses a content that is a string: it wants a list of parts, as some that see do."""
        self._empty = ""
        """Reasoning without a word, which a reply begins with; see `close_reasoning`."""
        self._render = self._usable(template)
        asked: Turn = ("user", _PROBE)
        answered: Turn = ("assistant", _ANSWER)
        system: Turn = ("system", _RULE)
        # Some put the system prompt before the latest question: then no turn begins like the one before.
        self.folds_system = not self._shows([system, asked, answered, asked])
        """Whether it takes no system prompt: that becomes the beginning of the user's first message."""
        opening = [] if self.folds_system else [system]
        self._user_first = not self._shows([*opening, answered, asked])
        self._user_needed = bool(opening) and not self._shows(opening)
        begun: list[Turn] = [*opening, asked]
        self.goes_on_alike: Final = self([*begun, answered, asked]).startswith(self(begun))
        """Whether what a reply begins with stands before it in the next prompt, too."""

    def __call__(self, messages: Sequence[Turn]) -> str:
        """The prompt, up to where the reply begins. Raises `VoiceError` LLM_ERROR that names the template."""
        try:
            text = self._rendered(self._fitted(messages))
        except Exception as error:  # whatever a template does, it is the model's
            reason = str(error).rstrip(".")
            raise VoiceError(
                ErrorCode.LLM_ERROR,
                Component.LLM,
                f"The chat template of {self._name} failed: {reason}. Choose another model, or a file "
                "of this one with another template.",
                retryable=False,
            ) from error
        return self._answering(text)

    def close_reasoning(self, opener: str, closer: str) -> None:
        """From now on, begin each reply with empty reasoning: the model leaves out its beginning."""
        self._empty = f"{opener}\n\n{closer}\n\n"

    def _answering(self, text: str) -> str:
        """The prompt behind which the model answers at once, even where its template has it reason first."""
        if closer := left_open(text):
            return f"{text.rstrip()}\n\n{closer}\n\n"
        if text.endswith(CHANNELS_BEGIN) and CHANNEL in self._render.template:
            return text + FINAL_CHANNEL
        return text if text.endswith(self._empty) else text + self._empty

    def _usable(self, template: str) -> Jinja2ChatFormatter:
        if not template:
            return self._formatter(CHATML_CHAT_TEMPLATE)
        reason = "it leaves out what the user says"
        for self.in_parts in (False, True):
            try:
                self._render = self._formatter(template)
                if _PROBE in self._rendered([("user", _PROBE)]):
                    return self._render
            except Exception as error:  # whatever a template does
                reason = str(error).rstrip(".")
        self.in_parts = False
        logger.warning(
            "The chat template of %s can't be used: %s. ChatML takes its place: if the model answers badly, "
            "choose another file of it.",
            self._name,
            reason,
        )
        return self._formatter(CHATML_CHAT_TEMPLATE)

    def _formatter(self, template: str) -> Jinja2ChatFormatter:
        return Jinja2ChatFormatter(template, eos_token=self._eos, bos_token=self._bos)

    def _shows(self, turns: Sequence[Turn]) -> bool:
        """Whether it takes these messages, and has all of them, in their order."""
        try:
            text = self._rendered(turns)
        except Exception:  # whatever a template does
            return False
        at = -1
        return all((at := text.find(words, at + 1)) >= 0 for _, words in turns)

    def _rendered(self, turns: Sequence[Turn]) -> str:
        messages: Any = [
            {"role": role, "content": [{"type": "text", "text": text}] if self.in_parts else text}
            for role, text in turns
        ]
        prompt: str = self._render(messages=messages, **_ASIDES).prompt
        return prompt

    def _fitted(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """The same in a form that the template takes."""
        system = [text for role, text in turns[:1] if role == "system"]
        said = list(turns[len(system) :])
        opening: list[Turn] = []
        if system and not self.folds_system:
            opening = [("system", system[0])]
        elif system and said and said[0][0] == "user":
            said[0] = ("user", f"{system[0]}\n\n{said[0][1]}")
        elif system:
            said.insert(0, ("user", system[0]))
        if self._user_first:
            said = _each_after_the_user(said)
        if self._user_needed and all(role != "user" for role, _ in said):
            said.append(("user", _GREETING))
        return [*opening, *said]


def _each_after_the_user(said: Sequence[Turn]) -> list[Turn]:
    """The same, with a greeting of the user's before what the assistant says without having been asked."""
    told: list[Turn] = []
    for role, text in said:
        if role != "user" and (not told or told[-1][0] != "user"):
            told.append(("user", _GREETING))
        told.append((role, text))
    return told
