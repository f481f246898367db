"""Messages to tokens: the chat template, the tools, and what no message may write into a prompt."""

import ctypes
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Final

import llama_cpp

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, Prompt, ToolOffer, ToolSpec
from localvoice.engines.llama import tool_prompt
from localvoice.engines.llama.kept import shared
from localvoice.engines.llama.template import ChatTemplate
from localvoice.engines.llama.vision import SeeingLlama
from localvoice.engines.pictures import unseen

SEED: Final = 1
"""The same conversation gets the same answers, at any temperature."""
_READ_AS_TOKENS: Final = (
    llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
    | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
    | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
)
"""What llama.cpp takes for one token wherever it stands in a prompt's text. Those that the makers of a model
defined (Qwen's <tool_call>) it finds even where it is told to take the text as it is."""

_OTHER: Final = " …"
"""Words that no one says."""
_LONGEST_PIECE: Final = 512
"""Bytes of a token's text: vocabularies have long runs of spaces."""
_TEMPLATE: Final = "tokenizer.chat_template"
"""Of a GGUF's metadata."""


@dataclass(frozen=True)
class _Tokens:
    """A prompt's tokens, for the model whose `Prompts` made them."""

    by: "Prompts"
    tools: tuple[ToolSpec, ...]
    tokens: tuple[int, ...]


class Prompts:
    """Makes the prompts of one model. Only `prompt` may be called from any thread."""

    def __init__(self, llama: llama_cpp.Llama, context_tokens: int) -> None:
        self._llama = llama
        self._seeing = llama if isinstance(llama, SeeingLlama) else None
        self._context_tokens = context_tokens
        self._control, self.controls, self.call_tokens = _marked_tokens(llama)
        """Tokens that a call, or what may be taken for one, begins with."""
        self._template = _template(llama)
        self._piece = ctypes.create_string_buffer(_LONGEST_PIECE)

    def prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None) -> Prompt:
        """The messages with their tokens, and the longest line that a reply may begin with counted in."""
        llama = self._llama
        text = self._formatted(messages, offer, self._text)
        tokens = llama_cpp.Llama.tokenize(llama, text, add_bos=False, special=True)
        count = len(tokens)
        if offer is not None:
            count += max(map(len, self.heads(offer).values()))
        images = [image for message in messages for image in message.images]
        if self._seeing is not None and images:  # only the job that brings them can look at them
            count += sum(self._seeing.image_tokens(image) + 1 for image in images)
            return Prompt(messages, offer, count)
        return Prompt(messages, offer, count, _Tokens(self, _tools(offer), tuple(tokens)))

    def tokens(self, messages: Sequence[ChatMessage], offer: ToolOffer | None) -> list[int]:
        """The prompt. Raises `VoiceError` LLM_ERROR if the context has no room for it."""
        known = messages.encoded if isinstance(messages, Prompt) else None
        if isinstance(known, _Tokens) and known.by is self and known.tools == _tools(offer):
            prompt = list(known.tokens)
        else:
            text = self._formatted(messages, offer, self._marked)
            try:
                prompt = self._llama.tokenize(text, add_bos=False, special=True)
            except ValueError as error:
                if "exceed context window" not in str(error):
                    raise
                raise self.too_long() from error
        if len(prompt) >= self._context_tokens:
            raise self.too_long()
        return prompt

    def parting(self, messages: Sequence[ChatMessage], offer: ToolOffer | None, prompt: Sequence[int]) -> int:
        """Before which token the user's latest words begin, or their next ones will: there prompts part."""
        said = messages[:-1] if messages[-1].role in ("user", "tool") else messages
        return self._shared(prompt, [*said, ChatMessage("user", _OTHER)], offer)

    def foreseen(
        self, messages: Sequence[ChatMessage], offer: ToolOffer | None, prompt: Sequence[int]
    ) -> int:
        """How many tokens stay the prompt's beginning when the user says more."""
        last = messages[-1]
        if last.role != "user":
            return self.parting(messages, offer, prompt)
        return self._shared(prompt, [*messages[:-1], replace(last, content=last.content + _OTHER)], offer)

    def _shared(self, prompt: Sequence[int], messages: Sequence[ChatMessage], offer: ToolOffer | None) -> int:
        text = self._formatted(messages, offer, self._text)
        return shared(prompt, llama_cpp.Llama.tokenize(self._llama, text, add_bos=False, special=True))

    @property
    def goes_on_alike(self) -> bool:
        """Whether what a reply begins with stands before it in the next prompt, too."""
        return self._template.goes_on_alike

    def heads(self, offer: ToolOffer) -> dict[str, list[int]]:
        """Tokens of the lines that the reply may begin with, by the name of the tool."""
        try:
            names = tool_prompt.choices(offer)
        except ValueError as error:
            raise failure(f"The choice of a tool can't be made: {error}", retryable=False) from error
        return {name: self._tokens(tool_prompt.head(name)) for name in names}

    def mark(self, text: str) -> list[int]:
        """Tokens of a mark that ends the model's reasoning, and of the lines behind it."""
        return llama_cpp.Llama.tokenize(self._llama, f"{text}\n\n".encode(), add_bos=False, special=True)

    def piece(self, token: int) -> bytes:
        """The token as text, also one of the chat template: a part of a character, a word, a mark."""
        vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        length = llama_cpp.llama_token_to_piece(vocabulary, token, self._piece, len(self._piece), 0, True)
        return self._piece.raw[: max(0, length)]

    def close_reasoning(self, opener: str, closer: str) -> None:
        """From now on, begin each reply with empty reasoning: the model leaves out its beginning."""
        self._template.close_reasoning(opener, closer)

    def too_long(self) -> VoiceError:
        return failure(
            f"The conversation is too long for the model's context of {self._context_tokens} tokens. "
            "Start a new one, send fewer messages to the model, or set a larger context_tokens.",
            retryable=False,
        )

    def _formatted(
        self, messages: Sequence[ChatMessage], offer: ToolOffer | None, words: Callable[[ChatMessage], str]
    ) -> bytes:
        """The prompt as text; a token for its beginning is the template's to add."""
        text = self._template(tool_prompt.render(messages, offer, words, self._plain))
        return text.encode("utf-8", "replace")

    def _tokens(self, text: str) -> list[int]:
        """Tokens of a text, without the chat template's own; always those of the vocabulary."""
        return llama_cpp.Llama.tokenize(self._llama, text.encode("utf-8", "replace"), add_bos=False)

    def _text(self, message: ChatMessage) -> str:
        """A message's words, as safe text; what its images show in words, where the model can't look."""
        text = self._plain(message.content)
        if self._seeing is not None:
            return text
        return "\n".join([*(unseen(self._plain(image.alt)) for image in message.images), text])

    def _marked(self, message: ChatMessage) -> str:
        """A message's words behind the places of its images."""
        marker = "" if self._seeing is None else f"{self._seeing.marker}\n"
        return marker * len(message.images) + self._text(message)

    def _plain(self, text: str) -> str:
        """The text without control tokens: typing can't end a turn, or speak as the system."""
        text, removed = text.encode("utf-8", "replace").decode(), 1
        while removed:  # what one leaves behind may be another
            text, removed = self._control.subn("", text)
        return text


def _marked_tokens(llama: llama_cpp.Llama) -> tuple[re.Pattern[str], frozenset[str], list[int]]:
    """What no message may write: a pattern of tokens such as <|im_end|> and <tool_call>, and of the
    marks round a tool's answer. The texts of the control tokens among them. And the tokens that a call, or
    what may be taken for one, begins with."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    written = list(tool_prompt.MARKS)
    controls: list[str] = []
    calls: list[int] = []
    for token in range(llama.n_vocab()):
        kind = llama_cpp.llama_vocab_get_attr(vocabulary, token)
        text = _text_of(vocabulary, token)
        # Some models have tokens of their own for spaces and line ends.
        if kind & _READ_AS_TOKENS and text.strip(" \t\r\n▁"):
            written.append(text)
            # A word of a vocabulary's own, such as a role's name, is said in ordinary talk as well.
            if kind & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL and not text[0].isalnum() and len(text) > 2:
                controls.append(text)
        if not kind & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL and text.startswith(tool_prompt.CALL_STARTS):
            calls.append(token)
    longest_first = sorted(written, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))), frozenset(controls), calls


def _text_of(vocabulary: Any, token: int) -> str:
    return llama_cpp.llama_vocab_get_text(vocabulary, token).decode("utf-8", "replace") if token >= 0 else ""


def _template(llama: llama_cpp.Llama) -> ChatTemplate:
    """The chat template that the model brings along."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    return ChatTemplate(
        PurePath(llama.model_path).name,
        llama.metadata.get(_TEMPLATE, ""),
        bos=_text_of(vocabulary, llama.token_bos()),
        eos=_text_of(vocabulary, llama.token_eos()),
    )


def _tools(offer: ToolOffer | None) -> tuple[ToolSpec, ...]:
    return () if offer is None else offer.tools


def failure(message: str, retryable: bool = True) -> VoiceError:
    """A failure of the language model; `retryable` unless the same request can only fail again."""
    return VoiceError(ErrorCode.LLM_ERROR, Component.LLM, message, retryable)
