"""Small language models of many families, with random weights.

What they say means nothing, but llama.cpp treats them as it treats the large ones. So prompts, caches and
interruptions are tried on every kind of memory.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np

EMBEDDING: Final = 32
"""Numbers of a token."""
HEADS, KV_HEADS, HEAD = 2, 1, 16
FEED_FORWARD: Final = 48
STATE: Final = 16
"""Numbers of a head of a recurrent layer."""
CONTEXT: Final = 8192
WINDOW: Final = 64
"""Tokens of a sliding window: far less than any prompt here."""
LETTERS: Final = [chr(code) for code in range(ord("!"), ord("~") + 1)]
SPACE, NEW_LINE = "Ġ", "Ċ"
"""As a vocabulary of bytes has them."""
MARKS: Final = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "role")
"""Control tokens; some vocabularies have words among them."""
WORDS: Final = ("user", "assistant", "system", "Tool", "talk", "think")
CHATML: Final = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
EMPTY_THOUGHT: Final = CHATML.replace(
    "assistant\n' }}{% endif", "assistant\n<think>\n\n</think>\n\n' }}{% endif"
)
"""As those of models that are told not to reason: a reply begins otherwise in the history."""

Shape = tuple[int, ...]
"""Of a tensor, as llama.cpp names it: the innermost dimension first."""


@dataclass(frozen=True)
class Family:
    """An architecture of llama.cpp, with as few layers as show its kinds."""

    name: str
    layers: int
    numbers: Mapping[str, Any]
    """Metadata beyond what all have, without the architecture's name."""
    tensors: Mapping[str, Shape]
    """Beyond what all layers have; {} is a layer, of those that are `recurrent` or not."""
    recurrent: Sequence[int] = ()
    """Layers that have a state in place of keys and values."""
    recurrent_tensors: Mapping[str, Shape] | None = None
    queries: int = HEADS * HEAD
    wraps: Mapping[str, str] | None = None
    """Names of tensors that are called otherwise here."""


_ATTENTION: Final[dict[str, Shape]] = {
    "attn_k.weight": (EMBEDDING, KV_HEADS * HEAD),
    "attn_v.weight": (EMBEDDING, KV_HEADS * HEAD),
    "attn_output.weight": (HEADS * HEAD, EMBEDDING),
}
_QK_NORMS: Final[dict[str, Shape]] = {"attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,)}
_QKV_BIASES: Final[dict[str, Shape]] = {
    "attn_q.bias": (HEADS * HEAD,),
    "attn_k.bias": (KV_HEADS * HEAD,),
    "attn_v.bias": (KV_HEADS * HEAD,),
}
_POST_NORMS: Final[dict[str, Shape]] = {
    "post_attention_norm.weight": (EMBEDDING,),
    "post_ffw_norm.weight": (EMBEDDING,),
}
_GROUPS: Final = 2
_INNER: Final = 2 * EMBEDDING
"""Numbers of a recurrent layer."""
_SSM: Final = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": _INNER,
    "ssm.state_size": STATE,
    "ssm.time_step_rank": _INNER // STATE,
    "ssm.group_count": _GROUPS,
}
_MAMBA: Final[dict[str, Shape]] = {
    "ssm_in.weight": (EMBEDDING, 2 * _INNER + 2 * _GROUPS * STATE + _INNER // STATE),
    "ssm_conv1d.weight": (4, _INNER + 2 * _GROUPS * STATE),
    "ssm_conv1d.bias": (_INNER + 2 * _GROUPS * STATE,),
    "ssm_dt.bias": (_INNER // STATE,),
    "ssm_a": (1, _INNER // STATE),
    "ssm_d": (1, _INNER // STATE),
    "ssm_norm.weight": (_INNER // _GROUPS, _GROUPS),
    "ssm_out.weight": (_INNER, EMBEDDING),
}
_DELTA_NET: Final[dict[str, Shape]] = {
    "attn_qkv.weight": (EMBEDDING, 2 * STATE * _GROUPS + _INNER),
    "attn_gate.weight": (EMBEDDING, _INNER),
    "ssm_conv1d.weight": (4, 2 * STATE * _GROUPS + _INNER),
    "ssm_dt.bias": (_INNER // STATE,),
    "ssm_a": (_INNER // STATE,),
    "ssm_beta.weight": (EMBEDDING, _INNER // STATE),
    "ssm_alpha.weight": (EMBEDDING, _INNER // STATE),
    "ssm_norm.weight": (STATE,),
    "ssm_out.weight": (_INNER, EMBEDDING),
}
_SHORT_CONVOLUTION: Final[dict[str, Shape]] = {
    "shortconv.conv.weight": (3, EMBEDDING),
    "shortconv.in_proj.weight": (EMBEDDING, 3 * EMBEDDING),
    "shortconv.out_proj.weight": (EMBEDDING, EMBEDDING),
}
_PER_LAYER: Final = 8
_GRANITE: Final = {"logit_scale": 0.5, "residual_scale": 1.0, "embedding_scale": 2.0, "attention.scale": 0.25}
_WINDOW: Final = {"attention.sliding_window": WINDOW}

FAMILIES: Final = (
    Family("llama", 1, {}, {}),
    Family("qwen2", 1, {}, _QKV_BIASES),
    Family("qwen3", 1, {}, _QK_NORMS),
    Family("smollm3", 4, {}, {}),
    Family("granite", 1, _GRANITE, {}),
    Family("gemma3", 2, _WINDOW | {"attention.sliding_window_pattern": 2}, _QK_NORMS | _POST_NORMS),
    Family(
        "gemma4",
        3,
        _WINDOW
        | {
            "attention.sliding_window_pattern": [True, True, False],
            "attention.shared_kv_layers": 0,
            "attention.key_length_swa": HEAD,
            "attention.value_length_swa": HEAD,
            "embedding_length_per_layer_input": _PER_LAYER,
        },
        _QK_NORMS
        | _POST_NORMS
        | {
            "inp_gate.weight": (EMBEDDING, _PER_LAYER),
            "proj.weight": (_PER_LAYER, EMBEDDING),
            "post_norm.weight": (EMBEDDING,),
        },
    ),
    Family("lfm2", 2, {"shortconv.l_cache": 3}, _QK_NORMS, (0,), _SHORT_CONVOLUTION),
    Family("granitehybrid", 2, _GRANITE | _SSM, {}, (0,), _MAMBA),
    Family(
        "qwen35",
        2,
        _SSM | {"full_attention_interval": 2, "rope.dimension_sections": [2, 2, 2, 2]},
        _QK_NORMS | {"post_attention_norm.weight": (EMBEDDING,)},
        (0,),
        _DELTA_NET | {"post_attention_norm.weight": (EMBEDDING,)},
        queries=2 * HEADS * HEAD,
    ),
)


def write_model(family: Family, path: Path, template: str = CHATML, seed: int = 1) -> Path:
    """A model of the family, of some hundred kilobytes."""
    writer = gguf.GGUFWriter(path, family.name)
    vocabulary = _add_vocabulary(writer, template)
    _add_numbers(writer, family, len(vocabulary))
    chance = np.random.default_rng(seed)
    for name, shape in _tensors(family, len(vocabulary)).items():
        writer.add_tensor(name, _weights(chance, name, shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter, template: str) -> list[str]:
    spelled = [word[:length] for word in WORDS for length in range(2, len(word) + 1)]
    pieces = list(dict.fromkeys([*LETTERS, SPACE, NEW_LINE, *spelled]))
    vocabulary = [*pieces, *MARKS]
    kinds = [gguf.TokenType.NORMAL] * len(pieces) + [gguf.TokenType.CONTROL] * len(MARKS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(dict.fromkeys(f"{piece[:-1]} {piece[-1]}" for piece in spelled)))
    writer.add_eos_token_id(vocabulary.index("<|im_end|>"))
    writer.add_bos_token_id(vocabulary.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)
    return vocabulary


def _add_numbers(writer: gguf.GGUFWriter, family: Family, words: int) -> None:
    kv_heads: Any = KV_HEADS
    if family.recurrent and family.name != "qwen35":
        kv_heads = [0 if layer in family.recurrent else KV_HEADS for layer in range(family.layers)]
    numbers = {
        "context_length": CONTEXT,
        "embedding_length": EMBEDDING,
        "block_count": family.layers,
        "feed_forward_length": FEED_FORWARD,
        "vocab_size": words,
        "rope.dimension_count": HEAD,
        "rope.freq_base": 10_000.0,
        "attention.head_count": HEADS,
        "attention.head_count_kv": kv_heads,
        "attention.key_length": HEAD,
        "attention.value_length": HEAD,
        "attention.layer_norm_rms_epsilon": 1e-5,
    }
    for name, value in (numbers | dict(family.numbers)).items():
        key = f"{family.name}.{name}"
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)


def _tensors(family: Family, words: int) -> dict[str, Shape]:
    final = "token_embd_norm" if family.name == "lfm2" else "output_norm"
    tensors: dict[str, Shape] = {
        "token_embd.weight": (EMBEDDING, words),
        "output.weight": (EMBEDDING, words),
        f"{final}.weight": (EMBEDDING,),
    }
    if family.name == "gemma4":
        tensors |= {
            "per_layer_token_embd.weight": (_PER_LAYER * family.layers, words),
            "per_layer_model_proj.weight": (EMBEDDING, _PER_LAYER * family.layers),
            "per_layer_proj_norm.weight": (_PER_LAYER,),
            "rope_freqs.weight": (HEAD // 2,),
        }
    for layer in range(family.layers):
        own: dict[str, Shape] = (
            {"attn_q.weight": (EMBEDDING, family.queries)} | _ATTENTION | dict(family.tensors)
        )
        if layer in family.recurrent:
            own = dict(family.recurrent_tensors or {})
        own |= {
            "attn_norm.weight": (EMBEDDING,),
            "ffn_gate.weight": (EMBEDDING, FEED_FORWARD),
            "ffn_up.weight": (EMBEDDING, FEED_FORWARD),
            "ffn_down.weight": (FEED_FORWARD, EMBEDDING),
        }
        if "post_attention_norm.weight" not in own or "post_ffw_norm.weight" in own:
            own["ffn_norm.weight"] = (EMBEDDING,)  # or it is called like the norm behind the attention
        tensors |= {f"blk.{layer}.{name}": shape for name, shape in own.items()}
    return tensors


def _weights(chance: np.random.Generator, name: str, shape: Shape) -> Any:
    drawn = chance.normal(0, 1, shape[::-1]).astype(np.float32)
    if name.endswith("norm.weight"):
        return 1 + drawn / 10
    if name.endswith("ssm_a"):
        return -np.abs(drawn)  # a state decays
    if name.endswith("rope_freqs.weight"):
        return np.ones(shape[::-1], np.float32)
    return drawn / np.float32(math.sqrt(shape[0]) if len(shape) > 1 else 10)
