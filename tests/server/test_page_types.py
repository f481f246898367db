"""The page's types: they hold under `tsc --strict`, none is left open, and its messages are the server's."""

import re
import shutil
import subprocess
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Final, get_args

import pytest
from pydantic.alias_generators import to_camel

from localvoice.contract import client_messages, messages
from localvoice.contract.messages import ServerMessage
from tests.support.folders import ROOT, SUPPORT
from tests.support.npm import npm

WEB: Final = ROOT / "localvoice" / "server" / "web"
PROJECT: Final = SUPPORT / "page_types"
BUILT: Final = ROOT / "build" / "page_types"
"""Where `make types` installs the compiler, too."""
OPEN: Final = re.compile(r"@ts-\w+|[{<(|: ]any[}>)|,\]]|\{\*\}|@type \{(?:Object|Function)\}")
"""What makes the compiler believe anything."""


@pytest.fixture(scope="module")
def tsc() -> Path:
    """The compiler that the lock file pins."""
    lock = (PROJECT / "package-lock.json").read_bytes()
    installed = BUILT / "package-lock.json"
    if not installed.exists() or installed.read_bytes() != lock:
        BUILT.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", ".npmrc", "package-lock.json"):
            shutil.copy(PROJECT / name, BUILT)
    program = BUILT / "node_modules" / ".bin" / "tsc"
    if not program.exists():
        npm(BUILT, "ci")
    return program


@pytest.mark.parametrize("project", ["tsconfig.json", "tsconfig.worklet.json"])
def test_the_types_hold(tsc: Path, project: str) -> None:
    done = subprocess.run([tsc, "-p", PROJECT / project], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_a_wrong_type_is_found(tsc: Path, tmp_path: Path) -> None:
    shutil.copy(PROJECT / "tsconfig.json", tmp_path)
    for file in WEB.glob("*.js"):
        shutil.copy(file, tmp_path)
    (tmp_path / "wrong.js").write_text(
        "import { micOpen } from './state.js';\nmicOpen({ mic: 'loud' });\n", "utf-8"
    )
    config = (tmp_path / "tsconfig.json").read_text().replace("../../../localvoice/server/web/", "./")
    (tmp_path / "tsconfig.json").write_text(config)
    done = subprocess.run([tsc, "-p", "."], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert re.findall(r"^(\S+)\(", done.stdout, re.MULTILINE) == ["wrong.js"]


def test_no_type_is_left_open() -> None:
    found = [
        f"{file.name}:{number}: {hit[0]}"
        for file in WEB.glob("*.js")
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if ("*" in line or "//" in line) and (hit := OPEN.search(line))
    ]
    assert found == []
    for line in (
        "/** @param {any} x */",
        "/** @type {Map<string, any>} */",
        "// @ts-ignore",
        "/** @type {*} */",
    ):
        assert OPEN.search(line), line


def typedefs() -> dict[str, tuple[str, set[str], set[str]]]:
    """Of each message in messages.js: its type, its fields, and those that may be missing."""
    text = (WEB / "messages.js").read_text()
    found = {}
    for kind, rest, name in re.findall(r"@typedef \{\{type: '([a-z-]+)'(.*?)\}\} (\w+)", text):
        names = re.findall(r"(\w+)(\??):", rest)
        found[name] = (kind, {each for each, _ in names}, {each for each, optional in names if optional})
    return found


def union(name: str) -> set[str]:
    """The members of a union in messages.js."""
    text = (WEB / "messages.js").read_text()
    match = re.search(rf"@typedef \{{([\w|\s*]+)\}} {name}\b", text)
    assert match is not None, name
    return set(re.findall(r"\w+", match[1]))


def test_the_page_knows_what_the_server_sends() -> None:
    known = typedefs()
    sent = ServerMessage.__subclasses__()
    assert union("ServerMessage") == {each.__name__ for each in sent}
    for message in sent:
        if message is messages.TurnMetrics:
            continue  # the page has its fields as a type of their own
        kind, named, optional = known[message.__name__]
        on_wire = {to_camel(field.name.rstrip("_")): field.default for field in fields(message)}
        assert kind == message.type
        assert named <= on_wire.keys(), message
        assert optional == {name for name in named if on_wire[name] is None}, message
    metrics = set(re.findall(r"@property \{number\} \[(\w+)\]", (WEB / "messages.js").read_text()))
    assert metrics == {to_camel(field.name) for field in fields(messages.TurnMetrics)}
    assert all(field.default is MISSING for field in fields(messages.TurnMetrics))


def test_the_server_takes_what_the_page_sends() -> None:
    known = typedefs()
    models = {model.__name__: model for model in get_args(client_messages.AnyMessage)}
    assert union("ClientMessage") <= models.keys()
    for name in union("ClientMessage"):
        model = models[name]
        kind, named, optional = known[name]
        required = {field.alias for field in model.model_fields.values() if field.is_required()}
        assert kind in get_args(model.model_fields["type"].annotation)
        assert named <= {field.alias for field in model.model_fields.values()}
        assert required - {"type"} <= named - optional
