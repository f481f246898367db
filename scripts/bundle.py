"""A folder that installs without a network: wheels, models, licences, bill of materials, sums, install.sh.

It fits machines of this one's kind: the same system, processor and Python version. llama-cpp-python goes
along as it was compiled here, for this processor's instruction sets.
"""

import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from build_llama import Build
from licences import NotInstalled, installed, model_licences, package_licence
from locked import RUNTIME_LOCKS, locked
from packaging.utils import parse_wheel_filename
from sbom import DIST, Invalid, write_bill
from steps import LOCKED, Failed, pip, pip_environment, run

from localvoice.catalog import CatalogError, ModelFilesError, load_catalog, models_folder, ready
from localvoice.catalog.verify import sha256_of
from localvoice.files import local_path
from localvoice.version import __version__

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
INSTALLER: Final = Path(__file__).with_name("bundle_install.sh")
SUMS: Final = "SHA256SUMS"
LICENCE_FILE: Final = re.compile(r"(?i)(^|/)(licen[cs]es?|copying|notice|authors|thirdparty)[^/]*(/[^/]+)?$")


def bundle(profile: str, cuda: bool, dist: Path = DIST) -> Path:
    """Make the bundle in `dist`, in place of one that was there; its folder.

    Raises `Failed`, `NotInstalled`, `CatalogError`, `ModelFilesError`, `Invalid` or `OSError`, and leaves
    nothing then.
    """
    name = f"localvoice-{__version__}-{profile}-{sysconfig.get_platform()}-py{PYTHON}"
    dist.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=dist) as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        put_models(profile, folder / "models")
        write_bill(profile, folder)
        put_licences(profile, folder / "licences")
        put_wheels(folder / "wheels", cuda, Path(scratch) / "pip.log")
        seal(folder, profile)
        shutil.rmtree(dist / name, ignore_errors=True)
        return folder.rename(dist / name)


def put_models(profile: str, folder: Path) -> None:
    """The profile's files, checked. Linked where that is possible: they are large."""
    files = ready(load_catalog(), profile, models_folder())
    for model in files.models.values():
        (folder / model.name).mkdir(parents=True)
        for file in model.files:
            _link(files.path(model.name, file.name), folder / model.name / file.name)


def put_licences(profile: str, folder: Path) -> None:
    """The licence files of all packages, ours, and a list of who has which. Raises `NotInstalled`."""
    folder.mkdir()
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    for package in locked():
        for file in installed(package).files or ():
            path = Path(str(file.locate()))
            if LICENCE_FILE.search(str(file)) and path.suffix not in (".py", ".pyc") and path.is_file():
                inner = Path(*(part for part in file.parts if part not in ("..", "/")))
                (folder / package.name / inner).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / package.name / inner)
    lines = []
    for each in (*map(package_licence, locked()), *model_licences(profile)):
        bare = each.version and not (folder / each.name).exists()
        note = " (its package holds no licence file)" if bare else ""
        lines.append(f"{each.name} {each.version}".strip() + f": {each.licence}{note}\n")
    (folder / "LICENCES.txt").write_text("".join(lines), "utf-8")


def put_wheels(folder: Path, cuda: bool, log: Path) -> None:
    """Every locked package as a wheel, llama-cpp-python's from the cache, and our own. Raises `Failed`."""
    compiled = Build.here(cuda).wheel
    if compiled is None:
        raise Failed("llama-cpp-python has not been compiled here yet. Run `make install` first.")
    folder.mkdir()
    env, python = pip_environment(os.environ), Path(sys.executable)
    wheels = pip(python, "download", "--only-binary", ":all:", "-d", folder, *LOCKED, RUNTIME_LOCKS[0])
    run("packages", wheels, log, env)
    _link(compiled, folder / compiled.name)
    own = pip(python, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, ROOT)
    run("localvoice", own, log, env)


def seal(folder: Path, profile: str) -> None:
    """Write what the installer goes by: requirements.txt, install.sh, and the sums of all files."""
    pins = []
    for wheel in sorted((folder / "wheels").glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        pins.append(f"{name}=={version} --hash=sha256:{sha256_of(wheel)}\n")
    (folder / "requirements.txt").write_text("".join(pins), "utf-8")
    system = f"{platform.system()}-{platform.machine()}"
    values = {"PROFILE": profile, "PYTHON": PYTHON, "SYSTEM": system}
    script = re.sub("@([A-Z]+)@", lambda found: values[found[1]], INSTALLER.read_text("utf-8"))
    (folder / "install.sh").write_text(script, "utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{sha256_of(path)}  {path.relative_to(folder)}\n" for path in files]
    (folder / SUMS).write_text("".join(sums), "utf-8")


def _link(source: Path, target: Path) -> None:
    """A second name for a file where both are on one disk, else a copy."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy(source, target)


def main(
    profile: Annotated[str, typer.Option(help="Set of models.")] = "base",
    cuda: Annotated[bool, typer.Option("--cuda", help="llama-cpp-python for an NVIDIA GPU.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the bundle's folder.", parser=local_path)] = DIST,
) -> None:
    """Make a bundle for machines without a network."""
    try:
        folder = bundle(profile, cuda, out)
    except (Failed, NotInstalled, CatalogError, ModelFilesError, Invalid) as reason:
        sys.exit(str(reason))
    except OSError as error:
        why = error.strerror or error
        sys.exit(f"The bundle can't be written to {out} ({why}). Give another folder with --out.")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.0f} MB. On the other machine: sh {folder.name}/install.sh")


if __name__ == "__main__":
    typer.run(main)
