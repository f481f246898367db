"""The language model itself: blocking, for the one thread of its worker."""

import json
import math
import re
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import llama_cpp
from llama_cpp import LogitsProcessorList
from llama_cpp.llama_chat_format import CHATML_CHAT_TEMPLATE, Jinja2ChatFormatter
from llama_cpp.llama_grammar import LlamaGrammar

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines import tool_prompt
from localvoice.engines.llama_state import Aside, stoppable
from localvoice.engines.protocols import ChatMessage, Sampling, ToolCall, ToolOffer, ToolSpec
from localvoice.engines.seeing import IMAGE_TOKENS, SeeingLlama
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.tool_choice import choose
from localvoice.engines.tool_grammar import call_grammar
from localvoice.engines.worker import Stop

GPU_BATCH: Final = 512
"""Tokens of a prompt that a GPU computes at a time."""

CPU_BATCH: Final = 128
"""Tokens of a prompt that the CPU computes at a time. 512 are no faster there, and take up to 34 MB more."""

SEED: Final = 1
"""The same conversation gets the same answers, at any temperature."""

_CALL_TOKENS: Final = 512
"""For the arguments of one call: a model in a loop must come to an end."""

_RELUCTANCE: Final = 1.2
"""Nats by which calling must be likelier than talking. Small models call a little too gladly: measured with
`make bench-tools`."""


def supports_gpu() -> bool:
    """Whether llama-cpp-python was built for a GPU."""
    return bool(llama_cpp.llama_supports_gpu_offload())


class LlamaModel:
    """The model itself; blocking, for one thread. Only `prompt_tokens` may be called from any."""

    def __init__(
        self, path: Path, plan: ThreadPlan, gpu_layers: int, context_tokens: int, projector: Path | None
    ) -> None:
        if gpu_layers and not supports_gpu():
            raise failure(
                "llama-cpp-python was built without GPU support: set gpu_layers to 0, or install it again "
                'with CMAKE_ARGS="-DGGML_CUDA=on".'
            )
        options: dict[str, Any] = {
            "n_gpu_layers": gpu_layers,
            "n_ctx": context_tokens,
            "n_batch": GPU_BATCH if gpu_layers else CPU_BATCH,
            "n_threads": plan.llm_decode,
            "n_threads_batch": plan.llm_prompt,
            "seed": SEED,
            "verbose": False,
        }
        if projector is None:
            self._llama = llama_cpp.Llama(str(path), **options)
        else:
            self._llama = SeeingLlama(path, projector, plan.llm_prompt, options | {"n_batch": IMAGE_TOKENS})
        self.sees = projector is not None
        trained = llama_cpp.llama_model_n_ctx_train(self._llama.model)
        if context_tokens > trained:
            raise failure(
                f"The language model {path.name} was made for a context of {trained} tokens: "
                f"set context_tokens to that or less, not {context_tokens}."
            )
        self.context_tokens = context_tokens
        self._control, self._call_tokens = _marked_tokens(self._llama)
        self._template = _template(self._llama)
        self._aside = Aside(self._llama)

    def prompt_tokens(self, messages: Sequence[ChatMessage], offer: ToolOffer | None) -> int:
        """Tokens of the prompt, with the longest line that a reply may begin with."""
        llama = self._llama
        text, add_bos = self._formatted(messages, offer, self._text)
        count = len(llama_cpp.Llama.tokenize(llama, text, add_bos=add_bos, special=True))
        if offer is not None:
            count += max(len(path) for path in self._heads(offer).values())
        if isinstance(llama, SeeingLlama):
            count += sum(llama.image_tokens(image) + 1 for message in messages for image in message.images)
        return count

    def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None,
        aside: bool,
        stop: Stop,
    ) -> Generator[str | ToolCall, None, None]:
        """The next message: text deltas, or one call. Raises `VoiceError` LLM_ERROR, or `Stopped`."""
        with ExitStack() as stack:
            if aside:
                stack.enter_context(self._aside.entered())
            if isinstance(self._llama, SeeingLlama):
                images = [image for message in messages for image in message.images]
                stack.enter_context(self._llama.showing(images, stop))
            stack.enter_context(stoppable(self._llama, stop))
            prompt = self._prompt(messages, offer)
            if offer is None:
                yield from self._talk(prompt, sampling)
                return
            heads = self._heads(offer)
            tool = self._choose(prompt, offer, heads)
            if tool is not None:
                call = self._call(prompt + heads[tool.name], tool)
                # The model saw the answer and didn't understand that it is one: asking again gives no other.
                repeated = (call.name, call.arguments) in tool_prompt.answered_calls(messages)
                if not repeated or tool_prompt.talk_name(offer) not in heads:
                    yield call
                    return
            yield from self._talk(prompt + heads[tool_prompt.talk_name(offer)], sampling, guarded=True)

    def _prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None) -> list[int]:
        text, add_bos = self._formatted(messages, offer, self._marked)
        try:
            prompt = self._llama.tokenize(text, add_bos=add_bos, special=True)
        except ValueError as error:
            if "exceed context window" not in str(error):
                raise
            raise self._too_long() from error
        if len(prompt) >= self.context_tokens:
            raise self._too_long()
        return prompt

    def _formatted(
        self,
        messages: Sequence[ChatMessage],
        offer: ToolOffer | None,
        words: Callable[[ChatMessage], str],
    ) -> tuple[bytes, bool]:
        """The prompt as text, and whether a token for its beginning is still to be added."""
        turns = [
            {"role": role, "content": self._content(text)}
            for role, text in tool_prompt.render(messages, offer, words, self._plain)
        ]
        formatted = self._template(messages=turns)
        return formatted.prompt.encode("utf-8", "replace"), not formatted.added_special

    def _heads(self, offer: ToolOffer) -> dict[str, list[int]]:
        """Tokens of the lines that the reply may begin with, by the name of the tool."""
        try:
            names = tool_prompt.choices(offer)
        except ValueError as error:
            raise failure(f"The choice of a tool can't be made: {error}", retryable=False) from error
        return {name: self._tokens(tool_prompt.head(name)) for name in names}

    def _choose(self, prompt: list[int], offer: ToolOffer, heads: Mapping[str, list[int]]) -> ToolSpec | None:
        """The tool to call; None is to talk."""
        if len(prompt) + max(map(len, heads.values())) >= self.context_tokens:
            raise self._too_long()
        names = list(heads)
        talk = tool_prompt.talk_name(offer)
        chosen = choose(
            list(heads.values()),
            lambda path: self._scores([*prompt, *path]),
            names.index(talk) if talk in heads else None,
            _RELUCTANCE,
        )
        return tool_prompt.choices(offer)[names[chosen]]

    def _scores(self, prompt: list[int]) -> Any:
        """What the model thinks of each token as the next one, shape (vocabulary,), float32 logits."""
        seen: list[Any] = []

        def look(_tokens: Any, logits: Any) -> Any:
            seen.append(logits.copy())
            return logits

        with closing(
            self._llama.generate(prompt, temp=0.0, logits_processor=LogitsProcessorList([look]))
        ) as made:
            next(made)
        return seen[0]

    def _talk(
        self, prompt: list[int], sampling: Sampling, guarded: bool = False
    ) -> Generator[str, None, None]:
        """Speech. If `guarded`, nothing of a call is in it."""
        stop = [*sampling.stop, *tool_prompt.NEVER_SAID] if guarded else list(sampling.stop)
        chunks: Any = self._llama.create_completion(
            prompt,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            repeat_penalty=sampling.repeat_penalty,
            max_tokens=sampling.max_tokens,
            stop=stop,
            seed=SEED,
            stream=True,
            logits_processor=LogitsProcessorList([self._not_first()]) if guarded else None,
        )
        for chunk in chunks:
            if delta := chunk["choices"][0]["text"]:
                yield delta

    def _not_first(self) -> Callable[[Any, Any], Any]:
        """Forbids what a call begins with as the first token: stopped there, a reply would be empty."""
        first = True

        def forbid(_tokens: Any, scores: Any) -> Any:
            nonlocal first
            if first:
                scores[self._call_tokens] = -math.inf
                first = False
            return scores

        return forbid

    def _call(self, prompt: list[int], tool: ToolSpec) -> ToolCall:
        """The call of the tool, as its schema wants it."""
        room = min(_CALL_TOKENS, self.context_tokens - len(prompt))
        made: Any = self._llama.create_completion(
            prompt,
            temperature=0.0,
            repeat_penalty=1.0,
            max_tokens=room,
            grammar=self._grammar(tool),
            seed=SEED,
        )
        if made["choices"][0]["finish_reason"] != "stop":
            raise failure(
                f"The language model's call of the tool {tool.name} had no end within {room} tokens. Ask for "
                "less at once, give the tool fewer arguments, or set a larger context_tokens."
            )
        return ToolCall(f"call_{secrets.token_hex(8)}", tool.name, json.loads(made["choices"][0]["text"]))

    def _grammar(self, tool: ToolSpec) -> LlamaGrammar:
        try:
            text = call_grammar(tool.parameters)
        except ValueError as error:
            raise failure(
                f"The tool {tool.name} can't be called: {error}. Mend its parameters.", retryable=False
            ) from error
        # The binding takes a grammar that llama.cpp refuses for one that it accepts, and crashes with it.
        vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, text.encode(), b"root")
        if not sampler:
            raise failure(
                f"The tool {tool.name} can't be called: llama.cpp refuses the grammar of its parameters. "
                "Give it fewer or simpler ones.",
                retryable=False,
            )
        llama_cpp.llama_sampler_free(sampler)
        return LlamaGrammar.from_string(text)

    def _too_long(self) -> VoiceError:
        return failure(
            f"The conversation is too long for the model's context of {self.context_tokens} tokens. "
            "Start a new one, send fewer messages to the model, or set a larger context_tokens.",
            retryable=False,
        )

    def _tokens(self, text: str) -> list[int]:
        """Tokens of a text, without the chat template's own; always those of the vocabulary."""
        return llama_cpp.Llama.tokenize(self._llama, text.encode("utf-8", "replace"), add_bos=False)

    def _text(self, message: ChatMessage) -> str:
        """A message's words, as safe text; what its images show in words, where the model can't look."""
        text = self._plain(message.content)
        if self.sees:
            return text
        alts = (self._plain(image.alt).strip() for image in message.images)
        return "\n".join([*(f"[image: {alt}]" for alt in alts if alt), text])

    def _marked(self, message: ChatMessage) -> str:
        """A message's words behind the places of its images."""
        llama = self._llama
        marks = f"{llama.marker}\n" * len(message.images) if isinstance(llama, SeeingLlama) else ""
        return marks + self._text(message)

    def _content(self, text: str) -> Any:
        return self._llama.content(text) if isinstance(self._llama, SeeingLlama) else text

    def _plain(self, text: str) -> str:
        """The text without control tokens: nobody ends a turn, or speaks as the system, by typing."""
        text, removed = text.encode("utf-8", "replace").decode(), 1
        while removed:  # what one leaves behind may be another
            text, removed = self._control.subn("", text)
        return text


def _marked_tokens(llama: llama_cpp.Llama) -> tuple[re.Pattern[str], list[int]]:
    """What nobody else may write: a pattern of control tokens, such as <|im_end|>, and of the marks round a
    tool's answer. And the tokens that a call, or what may be taken for one, begins with."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    control = list(tool_prompt.MARKS)
    calls: list[int] = []
    for token in range(llama.n_vocab()):
        text = llama_cpp.llama_vocab_get_text(vocabulary, token).decode("utf-8", "replace")
        if llama_cpp.llama_vocab_is_control(vocabulary, token):
            control.append(text)
        elif text.startswith(tool_prompt.CALL_STARTS):
            calls.append(token)
    longest_first = sorted(filter(None, control), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))), calls


def _template(llama: llama_cpp.Llama) -> Any:
    """Makes a prompt of messages, by the chat template that the model brings along."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)

    def text_of(token: int) -> str:
        return (
            llama_cpp.llama_vocab_get_text(vocabulary, token).decode("utf-8", "replace") if token >= 0 else ""
        )

    template = llama.metadata.get("tokenizer.chat_template", CHATML_CHAT_TEMPLATE)
    return Jinja2ChatFormatter(
        template, eos_token=text_of(llama.token_eos()), bos_token=text_of(llama.token_bos())
    )


def failure(message: str, retryable: bool = True) -> VoiceError:
    """A failure of the language model; `retryable` unless the same request can only fail again."""
    return VoiceError(ErrorCode.LLM_ERROR, Component.LLM, message, retryable)
