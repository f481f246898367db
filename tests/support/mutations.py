"""Inputs that are nearly right: valid ones with a few bytes or values changed, the same for the same seed."""

import json
from collections.abc import Sequence
from copy import deepcopy
from random import Random
from typing import Any, Final

_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, -1e308, 5e-324),
    *("", " ", "\0", "\n", "\ud800", "\U0001f600", "\u202e", "%s%n", "../../etc/passwd", "A" * 5_000),
    *([], {}, [[]], [{}], {"": {}}, {"type": "ping"}, [0] * 1_000),
)
_TEXTS: Final = (
    *("", "\0", "\r\n", "\n\n", " ", "-1", "0", "65536", "4294967296", "1" * 400, "é", "\u2028"),
    *("a=", "m=", "v=", ":", "candidate:", "::", "udp", "tcp", "x.local"),
    *("[::]", "127.0.0.1", "0.0.0.0", "255.255.255.255", "fe80::1%eth0"),
)
_DEEP: Final = 3_000


def mutated_message(message: dict[str, Any], random: Random) -> str:
    """A message of JSON with some of its values, its keys or its bytes changed."""
    whole = json.loads(json.dumps(message))
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        _change_somewhere(whole, random)
    text = json.dumps(whole, ensure_ascii=random.random() < 0.5)
    if random.random() < 0.01:
        text = "[" * _DEEP + text + "]" * _DEEP
    return text if random.random() < 0.6 else mutated_text(text, random)


def mutated_text(text: str, random: Random, most: int = 4) -> str:
    """A text with some stretches taken out, doubled, swapped or replaced."""
    for _ in range(random.randint(1, most)):
        begin = random.randint(0, len(text))
        end = min(len(text), begin + random.choice((0, 1, 1, 2, 8, 64, 1_000)))
        part = text[begin:end]
        other = random.randint(0, len(text))
        put = random.choice((
            "", part * 2, part * 50, part[::-1], text[other : other + 40], random.choice(_TEXTS),
            "".join(chr(random.choice((random.randint(0, 127), random.randint(0, 0xD7FF)))) for _ in part),
        ))  # fmt: skip
        text = text[:begin] + put + text[end:]
    return text


def mutated_lines(text: str, random: Random, only: str = "") -> str:
    """A text of lines, some of those that begin with `only` changed, doubled, moved or left out."""
    lines = text.split("\r\n")
    chosen = [at for at, line in enumerate(lines) if line.startswith(only)]
    for at in random.sample(chosen, min(len(chosen), random.randint(1, 3))):
        other = lines[random.choice(chosen)]
        lines[at] = random.choice((
            mutated_text(lines[at], random), _with_other_field(lines[at], random), "", other,
            lines[at] + "\r\n" + mutated_text(other, random), "\r\n".join([lines[at]] * 40),
        ))  # fmt: skip
    return "\r\n".join(lines)


def _with_other_field(line: str, random: Random) -> str:
    fields = line.split(" ")
    fields[random.randrange(len(fields))] = random.choice(_TEXTS)
    return " ".join(fields)


def _change_somewhere(value: Any, random: Random) -> None:
    keys: Sequence[Any] = list(value) if isinstance(value, dict) else range(len(value))
    if not keys:
        return
    key = random.choice(keys)
    inner = value[key]
    if isinstance(inner, dict | list) and random.random() < 0.6:
        _change_somewhere(inner, random)
    elif isinstance(value, dict) and random.random() < 0.2:
        value[random.choice(("", "type", "data", "__proto__", key + "\0"))] = value.pop(key)
    elif isinstance(inner, str) and random.random() < 0.5:
        value[key] = mutated_text(inner, random)
    else:
        value[key] = deepcopy(random.choice(_VALUES))
