"""Images: which are taken, and that none goes off in memory."""

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.llama import images
from localvoice.engines.llama.images import checked_image, image_size
from tests.support.images import png, png_of


def jpeg(width: int, height: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    (packet,) = encoder.encode(av.VideoFrame.from_ndarray(pixels).reformat(format="yuvj420p"))
    return bytes(packet)


@pytest.mark.parametrize("data", [png(1, 1), png(64, 48), png(400, 20), jpeg(64, 48), jpeg(17, 33)])
def test_png_and_jpeg_are_taken(data: bytes) -> None:
    checked_image(data, "image/whatever")


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
        (png(64, 48) + bytes(images.MAX_IMAGE_BYTES), r"has 8\.0 MB"),
        (png_of(60_000, 60_000, b""), "has 60000 x 60000 pixels"),
        (png_of(0, 10, b""), "0 x 10 pixels"),
        (png(21, 1), "at most 20 times"),
    ],
)
def test_what_cannot_be_seen_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(
        VoiceError, match=rf"{told}.*Send a PNG or JPEG of at most 8 MB and 25 megapixels"
    ) as caught:
        checked_image(data, "image/x")
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


def deep_png(depth: int, colour: int, side: int = 5_000) -> bytes:
    """The head of a large PNG, with too little behind it."""
    head = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zeros(10)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + bytes(4) for name, body in chunks
    )


@pytest.mark.parametrize("picture", [png(64, 48), jpeg(64, 48)])
def test_what_follows_a_picture_in_its_file_is_cut(picture: bytes) -> None:
    assert checked_image(picture, "image/x") == picture
    assert checked_image(picture + bytes(1_000), "image/x") == picture
    assert checked_image(picture + picture + b"\xff\xd9", "image/x") == picture


def test_a_preview_in_a_photograph_is_not_its_end() -> None:
    preview, photograph = jpeg(16, 16), jpeg(64, 48)
    notes = b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    whole = photograph[:2] + notes + photograph[2:]
    assert checked_image(whole + b"more", "image/x") == whole
    with pytest.raises(VoiceError, match="is damaged"):
        checked_image(whole[:-2], "image/x")


BOMB = """
import resource, sys
from localvoice.contract.errors import VoiceError
from localvoice.engines.llama.images import checked_image

data, told = sys.stdin.buffer.read(), "taken"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    checked_image(data, "image/x")
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
    ("bomb", "told"),
    [
        (lambda: png_of(30_000, 30_000, zeros(10)), "has 30000 x 30000 pixels"),
        (lambda: png_of(64, 48, zeros(256)), "holds more than its 64 x 48 pixels"),
        (lambda: put_in(b"IDAT", zeros(256)), "holds more than its 64 x 48 pixels"),
        (lambda: put_in(b"zTXt", b"x\0\0" + zeros(256)), "taken"),
        (lambda: put_in(b"iCCP", b"x\0\0" + zeros(256)), "taken"),
        (lambda: jpeg_of_scans(101), "has 101 scans, and at most 10 of its size"),
        (lambda: deep_png(16, 6), "takes 400 MB to decode, and at most 160 MB"),
        (lambda: deep_png(8, 6), "takes 200 MB to decode"),
        (
            lambda: (
                b"GIF89a"
                + struct.pack("<HH", 30_000, 30_000)
                + b"\0\0\0"
                + b",\0\0\0\0\x30\x75\x30\x75\0" * 5000
            ),
            "no PNG",
        ),
        (
            lambda: b"RIFF\0\0\1\0WEBPVP8X\n\0\0\0\2\0\0\0\x2f\x75\0\x2f\x75\0" + b"ANMF\x18\0\0\0" * 5000,
            "no PNG",
        ),
    ],
    ids=[
        "pixels",
        "data",
        "data twice",
        "text",
        "profile",
        "scans",
        "deep colours",
        "transparent",
        "gif",
        "webp",
    ],
)
def test_a_bomb_is_refused_before_it_goes_off(bomb: Callable[[], bytes], told: str) -> None:
    """In a process of its own, which can tell how much memory it took."""
    data = bomb()  # only now: every run collects this file, and few run it
    assert len(data) < 1_200_000
    command = [sys.executable, "-c", BOMB]
    home = str(Path(images.__file__).parents[2])
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
    checked_image(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(body)) + name + body + bytes(4) for name, body in chunks),
        "image/png",
    )
