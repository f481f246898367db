"""Images: which are taken, and that the language model really sees them."""

import asyncio
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from llama_cpp import mtmd_cpp
from small_llama import MODEL, PLAN
from tiny_projector import write_projector

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines import seeing, vision
from localvoice.engines.llama import LlamaLlm
from localvoice.engines.protocols import ChatMessage, Image, Sampling
from localvoice.engines.seeing import SeeingLlama, wants_parts
from localvoice.engines.vision import check_image, image_size
from localvoice.engines.worker import Stop, Stopped

EMBEDDING = 576
"""Numbers of a token of SmolLM2."""
IMAGE_TOKENS = 16


def png(width: int, height: int, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    rows = (b"\0" + bytes(colour) * width) * height
    return png_of(width, height, zlib.compress(rows))


def png_of(width: int, height: int, data: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def jpeg(width: int, height: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    (packet,) = encoder.encode(av.VideoFrame.from_ndarray(pixels).reformat(format="yuvj420p"))
    return bytes(packet)


RED, BLUE = Image(png(60, 40)), Image(png(60, 40, (20, 20, 220)), "image/png", "the blue sea")


@pytest.mark.parametrize("data", [png(1, 1), png(64, 48), png(400, 20), jpeg(64, 48), jpeg(17, 33)])
def test_png_and_jpeg_are_taken(data: bytes) -> None:
    check_image(data, "image/whatever")


def test_the_size_is_read_from_the_head() -> None:
    assert image_size(png(64, 48)) == (64, 48)
    assert image_size(jpeg(64, 48)) == (64, 48)
    padded = jpeg(64, 48)
    assert image_size(padded[:2] + b"\xff" + padded[2:]) == (64, 48)
    for cut in range(24):
        assert image_size(png(64, 48)[:cut]) is None
        assert image_size(jpeg(64, 48)[:cut]) is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", r"\(image/x\) is no PNG or JPEG"),
        (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(40), "no PNG or JPEG"),
        (b"%PDF-1.7", "no PNG or JPEG"),
        (b"\xff\xd8\xff\xe0", "no PNG or JPEG"),
        (png(64, 48)[:60], "is damaged"),
        (png_of(64, 48, b"no deflate"), "is damaged"),
        (jpeg(64, 48).partition(b"\xff\xda")[0], "is damaged"),
        (jpeg(64, 48)[:-100], "is damaged"),
        (png(64, 48) + bytes(vision.MAX_IMAGE_BYTES), r"has 8\.0 MB"),
        (png_of(60_000, 60_000, b""), "has 60000 x 60000 pixels"),
        (png_of(0, 10, b""), "0 x 10 pixels"),
        (png(21, 1), "at most 20 times"),
    ],
)
def test_what_cannot_be_seen_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(
        VoiceError, match=rf"{told}.*Send a PNG or JPEG of at most 8 MB and 25 megapixels"
    ) as caught:
        check_image(data, "image/x")
    assert (caught.value.code, caught.value.component) == (ErrorCode.INVALID_MESSAGE, Component.SERVER)


@cache
def zeros(count: int) -> bytes:
    """So many MiB of nothing, deflated."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(count)) + packer.flush()


def jpeg_of_scans(count: int, side: int = 4992) -> bytes:
    """A progressive JPEG that goes over its pixels again and again, and says nothing of them."""

    def segment(kind: int, body: bytes) -> bytes:
        return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body

    codes = segment(0xC4, b"\0\1" + bytes(15) + b"\0") + segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")
    blocks = (side // 8) ** 2
    flat = segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(blocks // 8 + 8)
    rest = "".join("0" + "1" * 14 for _ in range(blocks // 32767 + 1))  # a run of 32767 empty blocks
    rest += "1" * (-len(rest) % 8)
    packed = int(rest, 2).to_bytes(len(rest) // 8).replace(b"\xff", b"\xff\0")
    again = segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + packed
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
    tables = segment(0xDB, b"\0" + bytes([1] * 64)) + frame + codes
    return b"\xff\xd8" + tables + flat + again * (count - 1) + b"\xff\xd9"


BOMB = """
import resource, sys
from localvoice.contract.errors import VoiceError
from localvoice.engines.vision import check_image

data, told = sys.stdin.buffer.read(), "taken"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    check_image(data, "image/x")
except VoiceError as error:
    told = error.message
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, told)
"""


def put_in(name: bytes, body: bytes) -> bytes:
    """A small PNG with another chunk in it."""
    good, chunk = png(64, 48), name + body
    return good[:33] + struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + good[33:]


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in Linux' unit")
@pytest.mark.parametrize(
    ("data", "told"),
    [
        (png_of(30_000, 30_000, zeros(10)), "has 30000 x 30000 pixels"),
        (png_of(64, 48, zeros(256)), "holds more than its 64 x 48 pixels"),
        (put_in(b"IDAT", zeros(256)), "holds more than its 64 x 48 pixels"),
        (put_in(b"zTXt", b"x\0\0" + zeros(256)), "taken"),
        (put_in(b"iCCP", b"x\0\0" + zeros(256)), "taken"),
        (jpeg_of_scans(101), "has 101 scans"),
        (
            b"GIF89a"
            + struct.pack("<HH", 30_000, 30_000)
            + b"\0\0\0"
            + b",\0\0\0\0\x30\x75\x30\x75\0" * 5000,
            "no PNG",
        ),
        (b"RIFF\0\0\1\0WEBPVP8X\n\0\0\0\2\0\0\0\x2f\x75\0\x2f\x75\0" + b"ANMF\x18\0\0\0" * 5000, "no PNG"),
    ],
    ids=["pixels", "data", "data twice", "text", "profile", "scans", "gif", "webp"],
)
def test_a_bomb_is_refused_before_it_goes_off(data: bytes, told: str) -> None:
    """In a process of its own, which can tell how much memory it took."""
    assert len(data) < 1_200_000
    command = [sys.executable, "-c", BOMB]
    home = str(Path(vision.__file__).parents[2])
    done = subprocess.run(
        command,
        input=data,
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": home},
    )
    megabytes, message = done.stdout.decode().split(maxsplit=1)
    assert told in message
    assert int(megabytes) < 50


@pytest.mark.parametrize(("depth", "colour", "channels"), [(1, 0, 1), (8, 3, 1), (16, 6, 4), (8, 4, 2)])
@pytest.mark.parametrize("interlaced", [False, True])
def test_every_kind_of_png_is_no_bomb(depth: int, colour: int, channels: int, interlaced: bool) -> None:
    width, height, data = 37, 29, b""
    passes = [
        (0, 8, 0, 8),
        (4, 8, 0, 8),
        (0, 4, 4, 8),
        (2, 4, 0, 4),
        (0, 2, 2, 4),
        (1, 2, 0, 2),
        (0, 1, 1, 2),
    ]
    for left, across, top, down in passes if interlaced else [(0, 1, 0, 1)]:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        data += bytes(1 + (columns * depth * channels + 7) // 8) * rows
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", head), (b"PLTE", bytes(6)), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    check_image(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(body)) + name + body + bytes(4) for name, body in chunks),
        "image/png",
    )


def test_templates_that_want_a_list_of_parts_are_known() -> None:
    plain = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    parts = plain.replace(
        "{{ message.content }}", "{% for part in message.content %}{{ part.text }}{% endfor %}"
    )
    assert [wants_parts(template) for template in ("", plain, parts)] == [False, False, True]


@pytest.fixture(scope="module")
def projector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not MODEL.exists():
        pytest.skip("SmolLM2 isn't downloaded: make download-models PROFILE=tiny")
    return write_projector(tmp_path_factory.mktemp("projector") / "mmproj-tiny.gguf", EMBEDDING)


@pytest.fixture(scope="module")
def llm(projector: Path) -> Iterator[LlamaLlm]:
    engine = asyncio.run(LlamaLlm.load("seeing", MODEL, PLAN, context_tokens=1024, projector=projector))
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each image that is really computed."""
    computed: list[int] = []
    real = mtmd_cpp.mtmd_helper_eval_chunk_single

    def count(*arguments: Any) -> int:
        computed.append(len(computed))
        return int(real(*arguments))

    monkeypatch.setattr(mtmd_cpp, "mtmd_helper_eval_chunk_single", count)
    return computed


def ask(*images: Image, text: str = "What do you see?") -> list[ChatMessage]:
    return [ChatMessage("system", "Be short."), ChatMessage("user", text, images=images)]


async def answer(llm: LlamaLlm, messages: Sequence[ChatMessage]) -> str:
    async with aclosing(llm.reply(messages, Sampling(max_tokens=12))) as deltas:
        return "".join([str(delta) async for delta in deltas])


async def forget(llm: LlamaLlm) -> None:
    """All but the system prompt."""
    await answer(llm, ask(text="Hello"))
    llm._model._talks._kept.clear()


async def fresh_answer(llm: LlamaLlm, messages: Sequence[ChatMessage]) -> str:
    """The answer where all behind the system prompt is computed anew.

    A last token that is computed alone comes out a little otherwise than among others, and with random
    weights that is enough for another word.
    """
    await forget(llm)
    return await answer(llm, messages)


@pytest.mark.integration
async def test_the_reply_depends_on_the_images(llm: LlamaLlm) -> None:
    assert llm.sees
    prompts = [ask(), ask(RED), ask(BLUE), ask(RED, BLUE), ask(BLUE, BLUE)]
    answers = [await fresh_answer(llm, prompt) for prompt in prompts]
    assert len(set(answers)) == len(answers)
    assert [await fresh_answer(llm, prompt) for prompt in reversed(prompts)] == answers[::-1]


@pytest.mark.integration
async def test_text_is_answered_as_by_a_model_that_does_not_see(llm: LlamaLlm) -> None:
    blind = await LlamaLlm.load("blind", MODEL, PLAN, context_tokens=1024)
    assert not blind.sees
    await answer(llm, ask(RED))
    assert await answer(llm, ask()) == await answer(blind, ask())
    await blind.close()


@pytest.mark.integration
async def test_an_image_is_looked_at_once_in_a_conversation(llm: LlamaLlm, looks: list[int]) -> None:
    conversation = ask(RED)
    conversation.append(ChatMessage("assistant", await fresh_answer(llm, conversation)))
    assert len(looks) == 1
    conversation.append(ChatMessage("user", "And what else?"))
    await answer(llm, conversation)
    assert len(looks) == 1
    await fresh_answer(llm, conversation)
    assert len(looks) == 2


@pytest.mark.integration
async def test_conversations_about_two_images_go_on_in_turns(llm: LlamaLlm, looks: list[int]) -> None:
    talks = [[*ask(image), ChatMessage("assistant", "Well.")] for image in (RED, BLUE)]
    again = ChatMessage("user", "And what else?")
    alone = [await fresh_answer(llm, [*talk[:-1], talk[-1], again]) for talk in talks]
    assert alone[0] != alone[1]
    await forget(llm)
    looks.clear()
    for talk in talks:
        await answer(llm, talk[:-1])
    assert len(looks) == 2
    in_turns = [await answer(llm, [*talk, again]) for talk in talks]
    assert len(looks) == 2, "nobody looks again"
    assert in_turns[0] != in_turns[1]


class StopsAtALook(Stop):
    """Is set when the image encoder asks for the third time, unless it has asked before."""

    def __init__(self, asked: int = 0) -> None:
        super().__init__()
        self.asked = asked

    def is_set(self) -> bool:
        self.asked += 1
        if self.asked == 3:
            self.set()
        return super().is_set()


@pytest.mark.integration
async def test_stopping_ends_in_the_middle_of_an_image(llm: LlamaLlm) -> None:
    expected = await fresh_answer(llm, ask(RED))
    await forget(llm)
    stop, never = StopsAtALook(), StopsAtALook(asked=3)
    with pytest.raises(Stopped):
        await llm._worker.run(lambda: list(llm._model.reply(ask(RED), Sampling(), None, False, stop)))
    assert stop.asked == 3
    assert await answer(llm, ask(RED)) == expected
    await llm._worker.run(
        lambda: list(llm._model.reply(ask(BLUE), Sampling(max_tokens=1), None, False, never))
    )
    assert never.asked - 3 > stop.asked, "an image takes more steps than that"


@pytest.mark.integration
async def test_an_image_whose_prompt_was_stopped_is_seen_whole(
    llm: LlamaLlm, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await fresh_answer(llm, ask(RED))
    await forget(llm)

    def aborted(*_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("llama_decode returned 2")

    # What is computed behind the image. One token is given up then, and that is the image's last.
    monkeypatch.setattr("llama_cpp.Llama.eval", aborted)
    with pytest.raises(VoiceError, match="llama_decode returned 2"):
        await answer(llm, ask(RED))
    llama = llm._model._llama
    assert llama.input_ids[llama.n_tokens - 1] < 0 and llama.input_ids[llama.n_tokens] < 0
    assert len(looks) == 2
    assert await answer(llm, ask(RED)) == expected


@pytest.mark.integration
async def test_a_cancelled_reply_about_an_image_frees_the_model(llm: LlamaLlm) -> None:
    expected = await fresh_answer(llm, ask(RED))
    task = asyncio.create_task(answer(llm, ask(RED, text="The quick brown fox. " * 150)))
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await fresh_answer(llm, ask(RED)) == expected


@pytest.mark.integration
async def test_an_image_in_several_parts_is_looked_at_once(
    projector: Path, tmp_path: Path, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The words around the parts aren't in SmolLM2's vocabulary: any others do.
    real = seeing._text_tokens
    monkeypatch.setattr(seeing, "_text_tokens", lambda chunk: [max(token, 99) for token in real(chunk)])
    cutting = write_projector(tmp_path / "mmproj-cutting.gguf", EMBEDDING, cuts=True)
    llm = await LlamaLlm.load("cutting", MODEL, PLAN, context_tokens=1024, projector=cutting)
    conversation = ask(RED)
    conversation.append(ChatMessage("assistant", await answer(llm, conversation)))
    parts = len(looks)
    assert parts > 2
    conversation.append(ChatMessage("user", "And what else?"))
    await answer(llm, conversation)
    assert len(looks) == parts
    await answer(llm, ask(BLUE))
    assert len(looks) == 2 * parts
    await llm.close()


@pytest.mark.integration
async def test_an_image_takes_its_tokens_of_the_context(llm: LlamaLlm) -> None:
    assert isinstance(llm._model._llama, SeeingLlama)
    assert llm._model._llama.image_tokens(Image(png(400, 20))) == IMAGE_TOKENS
    with pytest.raises(VoiceError, match=r"too long.*1024 tokens"):
        await answer(llm, ask(*[RED] * 64))
    assert await answer(llm, ask(RED))


@pytest.mark.integration
async def test_a_broken_image_is_refused_and_the_next_one_seen(llm: LlamaLlm) -> None:
    expected = await fresh_answer(llm, ask(RED))
    with pytest.raises(VoiceError, match="damaged") as caught:
        await answer(llm, ask(RED, Image(png(64, 48)[:60])))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE
    assert await fresh_answer(llm, ask(RED)) == expected


@pytest.mark.integration
async def test_without_a_projector_the_model_is_told_what_an_image_shows(projector: Path) -> None:
    blind = await LlamaLlm.load("blind", MODEL, PLAN, context_tokens=1024)
    shown = ChatMessage("user", "Well?", images=(RED, BLUE, Image(b"", alt="<|im_end|>")))
    seen = blind._model.prompts._marked(shown)
    assert seen == "[image: the blue sea]\nWell?"
    assert await answer(blind, ask(Image(b"no image")))
    await blind.close()


@pytest.mark.integration
def test_a_projector_that_does_not_fit_is_named(projector: Path, tmp_path: Path) -> None:
    other = write_projector(tmp_path / "mmproj-other.gguf", EMBEDDING // 2)
    broken = tmp_path / "mmproj-broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    foreign = write_projector(tmp_path / "mmproj-foreign.gguf", EMBEDDING, cuts=True)
    for file in (other, broken, foreign, tmp_path / "mmproj-missing.gguf"):
        with pytest.raises(
            VoiceError, match=rf"{file.name}.*SmolLM2.*published with that very model"
        ) as caught:
            asyncio.run(LlamaLlm.load("seeing", MODEL, PLAN, context_tokens=256, projector=file))
        assert caught.value.code is ErrorCode.LLM_ERROR
