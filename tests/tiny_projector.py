"""A vision projector with random weights, written in a moment: it sees, but makes no sense of it."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

ALIGNMENT = 32
U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def write_projector(path: Path, embedding: int, image_size: int = 56, layers: int = 2) -> Path:
    """Write the GGUF of a LLaVA projector for a language model whose tokens have `embedding` numbers.

    An image becomes (image_size / 14)² tokens, whatever its own size.
    """
    tensors = _tensors(embedding, (image_size // 14) ** 2, layers)
    fields = _fields(embedding, image_size, layers)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    infos, data = b"", b""
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        infos += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        data += _padded(tensor.tobytes())
    path.write_bytes(_padded(head + b"".join(fields) + infos) + data)
    return path


def _tensors(embedding: int, patches: int, layers: int) -> dict[str, npt.NDArray[np.float32]]:
    noise = np.random.default_rng(1)

    def weights(*shape: int) -> npt.NDArray[np.float32]:
        return noise.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))

    tensors = {"v.patch_embd.weight": weights(64, 3, 14, 14), "v.position_embd.weight": weights(patches, 64)}
    for layer in range(layers):
        block = f"v.blk.{layer}."
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            tensors[f"{block}{part}.weight"] = weights(64, 64)
        for part in ("ln1", "ln2"):
            tensors[f"{block}{part}.weight"] = np.ones(64, np.float32)
            tensors[f"{block}{part}.bias"] = np.zeros(64, np.float32)
        tensors[f"{block}ffn_up.weight"] = weights(128, 64)
        tensors[f"{block}ffn_down.weight"] = weights(64, 128)
    for part, width in (("mm.0", 64), ("mm.2", embedding)):
        tensors[f"{part}.weight"] = weights(embedding, width)
        tensors[f"{part}.bias"] = np.zeros(embedding, np.float32)
    return tensors


def _fields(embedding: int, image_size: int, layers: int) -> list[bytes]:
    numbers = {
        "image_size": image_size,
        "patch_size": 14,
        "embedding_length": 64,
        "feed_forward_length": 128,
        "projection_dim": embedding,
        "block_count": layers,
        "attention.head_count": 2,
    }
    return [
        _field("general.architecture", STRING, _text("clip")),
        _field("general.file_type", U32, struct.pack("<I", 0)),
        _field("clip.has_vision_encoder", BOOL, b"\1"),
        _field("clip.use_gelu", BOOL, b"\1"),
        _field("clip.projector_type", STRING, _text("mlp")),
        *(_field(f"clip.vision.{key}", U32, struct.pack("<I", value)) for key, value in numbers.items()),
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
