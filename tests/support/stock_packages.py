"""LLMRTC's packages as npm has them, for tests that compare this server with the original.

They are installed by their lock file and bundled once, into a folder that git ignores.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tests.support.folders import ROOT, SUPPORT
from tests.support.npm import npm

SOURCE: Final = SUPPORT / "stock_client"
BUILT: Final = ROOT / "build" / "stock_client"
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
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as temporary:
            _build(Path(temporary)).rename(folder)
    return folder


def _build(room: Path) -> Path:
    shutil.copytree(SOURCE, room, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    npm(room, "ci")
    bundle = ("exec", "--", "esbuild", "--bundle")
    npm(room, *bundle, "page.js", "--outfile=page/client.js")
    npm(room, *bundle, "playbook.js", "--platform=node", "--format=esm", "--outfile=page/playbook.mjs")
    (room / "page" / "index.html").write_text(PAGE)
    return room / "page"
