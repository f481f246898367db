"""Private parts of libraries are used in `patches` alone, next to what adapts the library."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.folders import ROOT
from tests.support.own_modules import MODULES, PACKAGE

FOLDERS = ("server", "transports")
PATCHED = {"aiohttp", "aioice", "aiortc", "pylibsrtp", "pyopenssl", "sounddevice"}
_MANGLED = re.compile(r"_[A-Z]\w*?__\w+")


def private_uses(tree: ast.AST) -> list[str]:
    """What a module touches that begins with an underscore and isn't its own."""
    own = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    uses = list[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if _is_private(name) and name not in own:
                uses.append(f"line {node.lineno}: .{name}")
            case ast.Constant(value=str(text)) if _MANGLED.fullmatch(text):
                uses.append(f"line {node.lineno}: {text!r}")
            case ast.ImportFrom(module=str(module)) if any(map(_is_private, module.split("."))):
                uses.append(f"line {node.lineno}: from {module}")
            case _:
                pass
    return uses


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize(
    "module",
    [
        each
        for each in MODULES
        if each.relative_to(PACKAGE).parts[0] in FOLDERS and "patches" not in each.with_suffix("").parts
    ],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_only_patches_use_private_parts(module: Path) -> None:
    assert not private_uses(ast.parse(module.read_text()))


def test_what_is_looked_for_is_found() -> None:
    seen = "import a\nfrom a._b import c\na._d\nself._e\nvars(a)['_A__f']\n"
    assert private_uses(ast.parse(seen)) == ["line 2: from a._b", "line 3: ._d", "line 5: '_A__f'"]


def test_every_library_that_is_patched_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {re.split(r"[><=]", each)[0]: each for each in project["dependencies"]}
    assert all("<" in bounds[each] for each in PATCHED)
