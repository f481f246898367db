"""A package of one module, as a wheel, for the tests that install."""

import zipfile
from collections.abc import Sequence
from pathlib import Path


def write_wheel(
    folder: Path, name: str, code: str = "", version: str = "1.0", metadata: Sequence[str] = ()
) -> Path:
    """The wheel of a module with a command of its name. `metadata`: lines such as `Requires-Dist: x`."""
    info = f"{name}-{version}.dist-info"
    about = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]
    members = {
        f"{name}.py": code,
        f"{info}/METADATA": "\n".join(about) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{each},,\n" for each in [*members, f"{info}/RECORD"]))
    return path
