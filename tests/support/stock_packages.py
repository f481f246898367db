"""LLMRTC's packages as npm has them, for tests that hold this server against the original.

They are installed by their lock file and bundled once, into a folder that git ignores.
"""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

from tests.support.folders import ROOT, SUPPORT

SOURCE: Final = SUPPORT / "stock_client"
BUILT: Final = ROOT / "build" / "stock_client"
NPM_SECONDS: Final = 120
UNREACHABLE: Final = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENETUNREACH",
    "ETIMEDOUT",
    "ERR_SOCKET_TIMEOUT",
)
"""npm's codes for a registry that doesn't answer."""
PAGE: Final = (
    '<!doctype html><meta charset="utf-8"><title>An application</title><script src="client.js"></script>'
)


def bundled() -> Path:
    """The folder with the client's page and `playbook.mjs`, for node.

    Skips the test where npm is missing or its registry can't be reached.
    """
    state = hashlib.sha256()
    for file in sorted(each for each in SOURCE.iterdir() if each.is_file()):
        state.update(file.read_bytes())
    folder = BUILT / state.hexdigest()[:16]
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm for the stock client: install it (Debian: apt install npm)")
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as temporary:
            _build(npm, Path(temporary)).rename(folder)
    return folder


def _build(npm: str, room: Path) -> Path:
    shutil.copytree(SOURCE, room, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    _npm(npm, room, "ci")
    bundle = ("exec", "--", "esbuild", "--bundle")
    _npm(npm, room, *bundle, "page.js", "--outfile=page/client.js")
    _npm(npm, room, *bundle, "playbook.js", "--platform=node", "--format=esm", "--outfile=page/playbook.mjs")
    (room / "page" / "index.html").write_text(PAGE)
    return room / "page"


def _npm(npm: str, folder: Path, *words: str) -> None:
    done = subprocess.run([npm, *words], cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS)
    if done.returncode and (codes := [code for code in UNREACHABLE if code in done.stderr]):
        pytest.skip(f"needs npm's registry for the stock client, and it can't be reached: {codes[0]}")
    assert done.returncode == 0, done.stderr
