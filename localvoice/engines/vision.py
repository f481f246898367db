"""Images for the language model: llama.cpp's multimodal library (mtmd), a GGUF and its projector.

In a prompt an image is a run of made-up negative tokens that only this image has. So llama-cpp-python
compares, cuts and reuses prompts with images like any others, and an image is looked at once in a
conversation.
"""

import ctypes
import hashlib
import logging
import secrets
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp as mtmd
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.protocols import Image
from localvoice.engines.worker import Stop

MAX_IMAGE_BYTES: Final = 8_000_000
"""Of an image file. A photograph of a telephone has 2 to 5 MB."""

MAX_IMAGE_PIXELS: Final = 25_000_000
"""Of an image: decoded it takes three bytes a pixel, whatever its file has."""

MAX_IMAGE_ASPECT: Final = 20
"""How many times as long as the other one side may be. Beyond it, scaling leaves nothing to see."""

IMAGE_TOKENS: Final = 512
"""Tokens of one image at most, where the model leaves a choice, and what is computed at a time: some models
have to read an image in one go."""

SEND_INSTEAD: Final = (
    f"Send a PNG or JPEG of at most {MAX_IMAGE_BYTES // 1_000_000} MB and {MAX_IMAGE_PIXELS // 1_000_000} "
    "megapixels."
)

PROBE: Final = "Is this here?"
"""A message that is looked for in what a chat template makes of it."""

logger = logging.getLogger(__name__)

_TOLD_LEVELS: Final = (3, 4)
"""Warnings and errors, for developers: what fails comes as an exception as well."""

_NODES_A_LOOK: Final = 8
"""Steps of the image encoder between two looks at the stop flag: some ms in a model of 24 layers."""

_ALL_NEGATIVE: Final = np.int32(-(2**31))
"""Sign bit of a token; no token of a vocabulary has it."""


def _log(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    if level in _TOLD_LEVELS:
        logger.debug("%s", text.decode("utf-8", "replace").rstrip())


_LOG_CALLBACK: Final = llama_cpp.llama_log_callback(_log)
"""Held here for as long as the library may call it."""

mtmd.mtmd_helper_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))


def check_image(data: bytes, mime_type: str) -> None:
    """Raise `VoiceError` INVALID_MESSAGE, saying what to send instead, unless `data` is an image to be seen.

    What counts is the content; `mime_type` is what the client said, for the message. It decodes the image,
    about 10 ms a megapixel: call it in a thread.
    """
    with ExitStack() as stack:
        _decode(data, mime_type, stack)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as the head of a PNG or JPEG has them; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if kind == 0xFF:  # padding
            at += 1
        elif kind in (0xC0, 0xC1, 0xC2):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + length
    return None


def _decode(data: bytes, mime_type: str, stack: ExitStack) -> Any:
    """The image as the library holds it, freed with `stack`; VoiceError if it is none or too large."""
    if len(data) > MAX_IMAGE_BYTES:
        raise _refusal(f"The image has {len(data) / 1e6:.1f} MB.")
    # Before decoding: a file of some KB can claim a gigapixel.
    size = image_size(data)
    if size is None:
        raise _refusal(f"The attachment ({mime_type}) is no PNG or JPEG.")
    width, height = size
    if width * height > MAX_IMAGE_PIXELS:
        raise _refusal(f"The image has {width} x {height} pixels.")
    if min(size) < 1 or max(size) > MAX_IMAGE_ASPECT * min(size):
        raise _refusal(
            f"The image has {width} x {height} pixels, and one side may be at most {MAX_IMAGE_ASPECT} times "
            "as long as the other."
        )
    buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
    # Without a model the library decodes all the same: it only asks it about sound.
    bitmap = mtmd.mtmd_helper_bitmap_init_from_buf(None, buffer, len(data), False)  # type: ignore[arg-type]
    if bitmap is None:
        raise _refusal(f"The image ({mime_type}) is damaged.")
    stack.callback(mtmd.mtmd_bitmap_free, bitmap)
    return bitmap


def _refusal(what: str) -> VoiceError:
    return VoiceError(ErrorCode.INVALID_MESSAGE, Component.SERVER, f"{what} {SEND_INSTEAD}")


@dataclass(frozen=True)
class _Piece:
    """An image, or a part of one, in a prompt."""

    chunk: Any
    """As the library holds it."""
    tokens: list[int]
    """What stands for it: one for each position that it takes."""


class _Halt:
    """Stops the image encoder in the middle: the library calls it before and after its steps."""

    def __init__(self) -> None:
        self.stop = Stop()
        self._steps = 0

    def __call__(self, _tensor: int, ask: bool, _data: int) -> bool:
        if not ask:
            return not self.stop.is_set()
        self._steps += 1
        return self._steps % _NODES_A_LOOK == 0


def wants_parts(template: str) -> bool:
    """Whether the chat template loses a content that is a string: it wants a list of parts."""
    if not template:
        return False
    render = Jinja2ChatFormatter(template, eos_token="", bos_token="")
    return PROBE not in render(messages=[{"role": "user", "content": PROBE}]).prompt


class SeeingLlama(llama_cpp.Llama):
    """A model that also reads images; blocking, for one thread. Only `image_tokens` may be called from any.

    A prompt has `marker` where an image goes, and is given to it inside of `showing`.
    """

    def __init__(self, model: Path, projector: Path, threads: int, options: Mapping[str, Any]) -> None:
        """Load the GGUF with llama-cpp-python's `options`, and its projector, which computes with `threads`.

        Raises `VoiceError` LLM_ERROR naming the projector.
        """
        super().__init__(str(model), **options)
        self.marker: Final = f"<image-{secrets.token_hex(8)}>"
        """Stands for an image in a prompt's text. By chance: nobody can type it."""
        self._halt = _Halt()
        self._on_step = llama_cpp.ggml_backend_sched_eval_callback(self._halt)
        self._images: Sequence[Image] = ()
        self._shown = ExitStack()
        self._pieces: dict[int, tuple[_Piece, int]] = {}
        self._in_parts = wants_parts(self.metadata.get("tokenizer.chat_template", ""))
        self._mtmd = self._open(model, projector, threads, use_gpu=bool(options.get("n_gpu_layers")))

    def _open(self, model: Path, projector: Path, threads: int, use_gpu: bool) -> Any:
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = use_gpu
        params.print_timings = False
        params.n_threads = threads
        params.media_marker = self.marker.encode()
        params.image_max_tokens = IMAGE_TOKENS
        params.cb_eval = self._on_step
        context = mtmd.mtmd_init_from_file(str(projector).encode(), self.model, params)
        if context is not None:
            self._stack.callback(mtmd.mtmd_free, context)
        if context is None or not mtmd.mtmd_support_vision(context):
            raise VoiceError(
                ErrorCode.LLM_ERROR,
                Component.LLM,
                f"The projector {projector.name} can't be loaded for the language model {model.name}. Take "
                "the mmproj file that was published with that very model, or download both again.",
            )
        return context

    def content(self, text: str, images: int) -> Any:
        """A message's content for the chat template: the places of its images, then the text."""
        text = f"{self.marker}\n" * images + text
        return [{"type": "text", "text": text}] if self._in_parts else text

    @contextmanager
    def showing(self, images: Sequence[Image], stop: Stop) -> Iterator[None]:
        """Inside, the prompt has these images in the order of its markers; `stop` ends looking at them."""
        self._images, self._halt.stop = images, stop
        try:
            with ExitStack() as self._shown:
                yield
        finally:
            self._images = ()
            self._pieces.clear()

    def image_tokens(self, image: Image) -> int:
        """How many tokens of the context the image takes; it isn't looked at."""
        with ExitStack() as stack:
            width, height = image_size(image.data) or (1, 1)
            empty = mtmd.mtmd_bitmap_init(width, height, None)
            stack.callback(mtmd.mtmd_bitmap_free, empty)
            return int(mtmd.mtmd_helper_get_n_tokens(self._cut(self.marker.encode(), [empty], stack)))

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """The tokens of the text, those of the images in place of their markers.

        Raises `ValueError` if they are more than the context has.
        """
        if self.marker.encode() not in text:
            return super().tokenize(text, add_bos, special)
        bitmaps = [_decode(image.data, image.mime_type, self._shown) for image in self._images]
        chunks = self._cut(text, bitmaps, self._shown, add_bos, special)
        if (count := mtmd.mtmd_helper_get_n_tokens(chunks)) >= self.n_ctx():
            raise ValueError(f"Requested tokens ({count}) exceed context window of {self.n_ctx()}")
        tokens: list[int] = []
        for index in range(mtmd.mtmd_input_chunks_size(chunks)):
            chunk: Any = mtmd.mtmd_input_chunks_get(chunks, index)
            if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
                length = ctypes.c_size_t()
                texts: Any = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(length))
                tokens += texts[: length.value]
            else:
                tokens += self._place(chunk, index)
        return tokens

    def _cut(
        self,
        text: bytes,
        bitmaps: Sequence[Any],
        stack: ExitStack,
        add_bos: bool = False,
        special: bool = False,
    ) -> Any:
        """The text in chunks of text and of images, freed with `stack`."""
        chunks: Any = mtmd.mtmd_input_chunks_init()
        stack.callback(mtmd.mtmd_input_chunks_free, chunks)
        source = mtmd.mtmd_input_text(text, len(text), add_bos, special)
        array = (mtmd.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
        if code := mtmd.mtmd_tokenize(self._mtmd, chunks, ctypes.byref(source), array, len(bitmaps)):
            raise RuntimeError(f"the images don't fit into the model's chat template (mtmd {code})")
        return chunks

    def _place(self, chunk: Any, index: int) -> list[int]:
        """Tokens that stand for the chunk: the same for the same image at the same place in a prompt."""
        count = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
        if mtmd.mtmd_decode_use_non_causal(self._mtmd, chunk) and count > self.n_batch:
            raise RuntimeError(f"an image of {count} tokens is more than the {self.n_batch} read in one go")
        name = (mtmd.mtmd_input_chunk_get_id(chunk) or b"") + b"%d" % index
        digest = hashlib.shake_128(name).digest(4 * mtmd.mtmd_input_chunk_get_n_pos(chunk))
        piece = _Piece(chunk, (np.frombuffer(digest, np.int32) | _ALL_NEGATIVE).tolist())
        self._pieces |= {token: (piece, offset) for offset, token in enumerate(piece.tokens)}
        return piece.tokens

    def eval(self, tokens: Sequence[int]) -> None:
        """Compute the tokens, text and images, behind those that were computed before."""
        start = 0
        for at, token in enumerate(tokens):
            if token < 0 and at >= start:
                if at > start:
                    super().eval(tokens[start:at])
                start = at + self._look(token)
        if start < len(tokens) or not tokens:
            super().eval(tokens[start:])

    def _look(self, token: int) -> int:
        """Compute the image that `token` is of; how many of its tokens there are from this one on."""
        piece, offset = self._pieces[token]
        # An image is computed whole: a prompt that was cut inside of it goes back to its beginning.
        self.n_tokens -= offset
        self._ctx.kv_cache_seq_rm(-1, self.n_tokens, -1)
        end = llama_cpp.llama_pos(0)
        code = mtmd.mtmd_helper_eval_chunk_single(
            self._mtmd,
            self._ctx.ctx,
            piece.chunk,
            llama_cpp.llama_pos(self.n_tokens),
            llama_cpp.llama_seq_id(0),
            self.n_batch,
            False,
            ctypes.byref(end),
        )
        self._halt.stop.check()
        if code:
            raise RuntimeError(f"an image could not be computed (mtmd {code})")
        length = len(piece.tokens)
        self.input_ids[self.n_tokens : self.n_tokens + length] = piece.tokens
        self.n_tokens += length
        return length - offset
