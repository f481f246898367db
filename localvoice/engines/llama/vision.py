"""A language model that sees: a GGUF and its projector, through llama.cpp's multimodal library (mtmd).

In a prompt an image is a run of made-up negative tokens that only this image has. So llama-cpp-python
compares, cuts and reuses prompts with images like any others, and an image is looked at once in a
conversation.
"""

import ctypes
import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp as mtmd

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.jobs import Stop
from localvoice.engines.llama.images import decode_image, image_size
from localvoice.engines.llama.marks import cut
from localvoice.engines.llama.patches import free_with
from localvoice.engines.pictures import Image

IMAGE_TOKENS: Final = 512
"""Tokens of one image at most, where the model leaves a choice, and what is computed at a time: some models
have to read an image in one go."""
LARGE_IMAGE: Final = (2000, 1500)
"""Width and height in pixels of an image that is cut in parts by the models that do so."""
_NODES_A_LOOK: Final = 8
"""Steps of the image encoder between two looks at the stop flag: some ms in a model of 24 layers."""
_ALL_NEGATIVE: Final = np.int32(-(2**31))
"""Sign bit of a token; no token of a vocabulary has it."""


@dataclass(frozen=True)
class _ImagePiece:
    chunk: Any
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


def _each(chunks: Any) -> Iterator[Any]:
    for index in range(mtmd.mtmd_input_chunks_size(chunks)):
        yield mtmd.mtmd_input_chunks_get(chunks, index)


def _text_tokens(chunk: Any) -> list[int]:
    length = ctypes.c_size_t()
    tokens: Any = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(length))
    return list(tokens[: length.value]) if length.value else []


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
        """Stands for an image in a prompt's text. Random, so that it can't be typed."""
        self._halt = _Halt()
        self._on_step = llama_cpp.ggml_backend_sched_eval_callback(self._halt)
        self._images: Sequence[Image] = ()
        self._shown = ExitStack()
        self._pieces: dict[int, tuple[_ImagePiece, int]] = {}
        self._open(model, projector, threads, use_gpu=bool(options.get("n_gpu_layers")))

    def _open(self, model: Path, projector: Path, threads: int, use_gpu: bool) -> None:
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = use_gpu
        params.print_timings = False
        params.n_threads = threads
        params.media_marker = self.marker.encode()
        params.image_max_tokens = IMAGE_TOKENS
        params.cb_eval = self._on_step
        self._mtmd: Any = mtmd.mtmd_init_from_file(str(projector).encode(), self.model, params)
        if self._mtmd is not None:
            free_with(self, mtmd.mtmd_free, self._mtmd)
        if self._mtmd is None or not mtmd.mtmd_support_vision(self._mtmd) or not self._knows_its_tokens():
            raise VoiceError(
                ErrorCode.LLM_ERROR,
                Component.LLM,
                f"The projector {projector.name} can't be loaded for the language model {model.name}. Take "
                "the mmproj file that was published with that very model, or download both again.",
            )

    def _knows_its_tokens(self) -> bool:
        """Whether the vocabulary has the tokens that the projector puts around an image and its parts."""
        with ExitStack() as stack:
            chunks = self._cut_empty(LARGE_IMAGE, stack)
            return all(token >= 0 for chunk in _each(chunks) for token in _text_tokens(chunk))

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
            chunks = self._cut_empty(image_size(image.data) or (1, 1), stack)
            return int(mtmd.mtmd_helper_get_n_tokens(chunks))

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """The tokens of the text, those of the images in place of their markers.

        Raises `ValueError` if they are more than the context has.
        """
        if self.marker.encode() not in text:
            return super().tokenize(text, add_bos, special)
        bitmaps = [decode_image(image.data, image.mime_type, self._shown) for image in self._images]
        chunks = self._cut(text, bitmaps, self._shown, add_bos, special)
        if (count := mtmd.mtmd_helper_get_n_tokens(chunks)) >= self.n_ctx():
            raise ValueError(f"Requested tokens ({count}) exceed context window of {self.n_ctx()}")
        tokens: list[int] = []
        for index, chunk in enumerate(_each(chunks)):
            is_text = mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT
            tokens += _text_tokens(chunk) if is_text else self._place(chunk, index)
        return tokens

    def _cut_empty(self, size: tuple[int, int], stack: ExitStack) -> Any:
        """The chunks of an image alone, of which only the size is known."""
        empty = mtmd.mtmd_bitmap_init(*size, None)
        stack.callback(mtmd.mtmd_bitmap_free, empty)
        return self._cut(self.marker.encode(), [empty], stack)

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
        piece = _ImagePiece(chunk, (np.frombuffer(digest, np.int32) | _ALL_NEGATIVE).tolist())
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
        cut(self, self.n_tokens)
        end = llama_cpp.llama_pos(0)
        code = mtmd.mtmd_helper_eval_chunk_single(
            self._mtmd,
            self.ctx,
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
