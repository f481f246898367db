"""A vision projector with random weights, written in a moment: it sees, but makes no sense of it."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

ALIGNMENT = 32
U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


Tensor = npt.NDArray[np.float32]

PATCH = 14
SIDE = 4
"""Patches in a row of an image."""
LAYERS = 2


def write_projector(path: Path, embedding: int, cuts: bool = False) -> Path:
    """Write the GGUF of a projector for a language model whose tokens have `embedding` numbers.

    It is one of LLaVA's, where an image becomes 16 tokens whatever its size; or, if it `cuts`, one of
    SmolVLM's, where an image becomes a whole and up to four parts of 4 tokens each, with words of SmolVLM's
    vocabulary around them.
    """
    tensors = _encoder() | (_merging_head(embedding) if cuts else _head(embedding))
    fields = _fields(embedding) + (
        _cutting() if cuts else [_field("clip.projector_type", STRING, _text("mlp"))]
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    infos, data = b"", b""
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        infos += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        data += _padded(tensor.tobytes())
    path.write_bytes(_padded(head + b"".join(fields) + infos) + data)
    return path


def _weights(*shape: int) -> Tensor:
    noise = np.random.default_rng(list(shape))
    return noise.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))


def _encoder() -> dict[str, Tensor]:
    ones, zeros = np.ones(64, np.float32), np.zeros(64, np.float32)
    tensors = {
        "v.patch_embd.weight": _weights(64, 3, PATCH, PATCH),
        "v.position_embd.weight": _weights(SIDE * SIDE, 64),
    }
    for layer in range(LAYERS):
        block = f"v.blk.{layer}."
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            tensors[f"{block}{part}.weight"] = _weights(64, 64)
        for part in ("ln1", "ln2"):
            tensors |= {f"{block}{part}.weight": ones, f"{block}{part}.bias": zeros}
        tensors[f"{block}ffn_up.weight"] = _weights(128, 64)
        tensors[f"{block}ffn_down.weight"] = _weights(64, 128)
    return tensors


def _head(embedding: int) -> dict[str, Tensor]:
    zeros = np.zeros(embedding, np.float32)
    return {
        "mm.0.weight": _weights(embedding, 64),
        "mm.0.bias": zeros,
        "mm.2.weight": _weights(embedding, embedding),
        "mm.2.bias": zeros,
    }


def _merging_head(embedding: int) -> dict[str, Tensor]:
    """Makes one token of two by two patches."""
    return {
        "v.post_ln.weight": np.ones(64, np.float32),
        "v.post_ln.bias": np.zeros(64, np.float32),
        "mm.model.fc.weight": _weights(embedding, 4 * 64),
    }


def _cutting() -> list[bytes]:
    numbers = {"projector.scale_factor": 2, "preproc_image_size": 2 * SIDE * PATCH}
    kind = _field("clip.projector_type", STRING, _text("idefics3"))
    return [kind, *(_field(f"clip.vision.{key}", U32, struct.pack("<I", n)) for key, n in numbers.items())]


def _fields(embedding: int) -> list[bytes]:
    numbers = {
        "image_size": SIDE * PATCH,
        "patch_size": PATCH,
        "embedding_length": 64,
        "feed_forward_length": 128,
        "projection_dim": embedding,
        "block_count": LAYERS,
        "attention.head_count": 2,
    }
    return [
        _field("general.architecture", STRING, _text("clip")),
        _field("general.file_type", U32, struct.pack("<I", 0)),
        _field("clip.has_vision_encoder", BOOL, b"\1"),
        _field("clip.use_gelu", BOOL, b"\1"),
        *(_field(f"clip.vision.{key}", U32, struct.pack("<I", n)) for key, n in numbers.items()),
        _field("clip.vision.attention.layer_norm_epsilon", F32, struct.pack("<f", 1e-5)),
        *(
            _field(f"clip.vision.image_{key}", ARRAY, struct.pack("<IQ3f", F32, 3, *(0.5,) * 3))
            for key in ("mean", "std")
        ),
    ]


def _field(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
