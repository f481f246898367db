"""Private parts of a library are used in one place, `patches`, and only of versions that were looked at."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.folders import ROOT
from tests.support.own_modules import MODULES, PACKAGE

DOCUMENTED = {"_exit", "_replace", "_typeshed"}
"""Names with an underscore that Python's own documentation gives to its users."""

USED_BELOW_THE_SURFACE = {
    "aiohttp",
    "aioice",
    "aiortc",
    "faster-whisper",
    "llama-cpp-python",
    "onnxruntime",
    "piper-tts",
    "pylibsrtp",
    "pyopenssl",
    "sounddevice",
}
"""Libraries whose private parts the package uses."""

MANGLED = re.compile(r"_[A-Z]\w*?__\w+")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in DOCUMENTED


def own_names(tree: ast.AST) -> set[str]:
    """What a module defines itself, attributes of its own objects among it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                names.add(node.attr)
    return names


def private_parts(source: str) -> Iterator[str]:
    """Private names that a module uses and doesn't define: those of others."""
    tree = ast.parse(source)
    own = own_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            named = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from filter(is_private, named)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MANGLED.fullmatch(node.value):
            yield node.value
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if any(map(is_private, alias.name.split("."))))


def is_patches(module: Path) -> bool:
    return "patches" in module.relative_to(PACKAGE).with_suffix("").parts


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_but_patches_uses_private_parts_of_others(module: Path) -> None:
    used = list(private_parts(module.read_text("utf-8")))
    if not is_patches(module):
        assert not used, f"{used}: have these used by a function in the `patches` of the adapter"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("def f(llama):\n    return llama._ctx", ["llama._ctx"]),
        ("class A(B):\n    def f(self):\n        return self._stack", ["self._stack"]),
        ("from library.tokenizer import _CODES, codes", ["_CODES"]),
        ("import library._core", ["library._core"]),
        ("def later():\n    from library._core import thing", ["_core"]),
        ("class A:\n    def __init__(self):\n        self._own = 1\n\ndef f(a):\n    return a._own", []),
        ("vars(a)['_A__f']", ["_A__f"]),
        ("import os\nos._exit(1)\nx.__class__", []),
    ],
)
def test_private_parts_would_be_seen(line: str, found: list[str]) -> None:
    assert list(private_parts(line)) == found


def test_libraries_whose_private_parts_are_used_have_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {each.name: each for each in map(Requirement, project["dependencies"])}
    for name in sorted(USED_BELOW_THE_SURFACE):
        assert {"<", "=="} & {each.operator for each in needed[name].specifier}, f"{name} has no upper bound"
