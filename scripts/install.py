"""Makes .venv and installs localvoice into it: `python scripts/install.py [--dev] [--cuda]`.

Every package comes from a lock file and must match its hash; llama-cpp-python is compiled (build_llama.py).
Needs nothing but Python's standard library; the Makefile calls it when one of its inputs has changed.
"""

import argparse
import errno
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from build_llama import Build, check_tools, make_wheel, probe
from steps import DISK_FULL, LOCKED, Failed, check_space, pip, pip_environment, run

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
# The folder that the environment was made in: it holds absolute paths, so after a move it is made again. The
# file is gone while pip unpacks, because a package that was cut off half-way can look whole to pip later.
CHECKOUT = VENV / ".checkout"
STAMPS = (".installed", ".installed-dev", ".installed-cuda", ".installed-dev-cuda")
# Which of the builds of llama-cpp-python is installed: one version can be compiled in several ways.
INSTALLED_BUILD = VENV / ".llama-build"
# pip names a package so when it comes to it; "Processing" is what it says of a local index's file.
PIP_PACKAGE = (
    r"(?:Collecting|Processing|Requirement already satisfied:|Ignoring) (?:\S*/)?(\w\S*?)(?:==|-\d|:|\s)"
)


def main() -> None:
    """Install; end with exit status 1 and a sentence if that fails, with 130 if it is stopped."""
    parser = argparse.ArgumentParser(description="Make .venv and install localvoice into it.")
    parser.add_argument("--dev", action="store_true", help="also what tests, lint and types need")
    parser.add_argument("--cuda", action="store_true", help="compile llama-cpp-python for an NVIDIA GPU")
    options = parser.parse_args()
    os.chdir(ROOT)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))
    try:
        install(options.dev, options.cuda)
    except Failed as failure:
        sys.exit(f"\n{failure}")
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"\n{DISK_FULL}")
        if error.errno in (errno.EACCES, errno.EROFS):
            sys.exit(f"\n{error}: this folder must be writable.")
        raise


def install(dev: bool, cuda: bool) -> None:
    """Do the four steps; leave stamp files that tell make what is installed."""
    # What the developer's tools depend on must go along, or pip's check finds them left behind.
    dev = dev or (VENV / ".installed-dev").exists()
    for stamp in STAMPS:
        (VENV / stamp).unlink(missing_ok=True)
    env = pip_environment(os.environ)
    build = Build.here(cuda)
    if build.wheel is None:
        check_tools(build)
    print("1/4 Python environment, in .venv", flush=True)
    make_venv()
    lock = Path("scripts", "requirements-dev.lock" if dev else "requirements.lock")
    pins = len(re.findall(r"^[\w.-]+==", lock.read_text(), re.MULTILINE))
    print(f"2/4 Packages: {pins}, each checked against {lock}", flush=True)
    CHECKOUT.unlink(missing_ok=True)
    run("packages", pip(PYTHON, "install", *LOCKED, lock), LOG, env, packages_of(pins))
    CHECKOUT.write_text(f"{ROOT}\n")
    print("3/4 llama-cpp-python", flush=True)
    install_llama(build, env)
    print("4/4 localvoice itself", flush=True)
    drop_old_name(env)
    run("localvoice", pip(PYTHON, "install", "--no-deps", "--no-build-isolation", "-e", ROOT), LOG, env)
    run("check", pip(PYTHON, "check"), LOG, env)
    for stamp in STAMPS:
        if ("dev" not in stamp or dev) and ("cuda" not in stamp or cuda):
            (VENV / stamp).touch()


def packages_of(pins: int) -> Callable[[str], str | None]:
    """What turns pip's lines into how many of the lock's packages it has dealt with."""
    count = itertools.count(1)

    def status(line: str) -> str | None:
        if line.startswith("Installing collected packages"):
            return "unpacking"
        if "Retrying" in line:
            return "no answer from the package index, trying again"
        package = re.match(PIP_PACKAGE, line)
        return f"{next(count)} of {pins}  {package[1]}" if package else None

    return status


def make_venv() -> None:
    """Make .venv, or keep the one that is there if it is whole, works and was made in this folder."""
    if _holds(CHECKOUT, str(ROOT)) and _works():
        print("      already there", flush=True)
        return
    check_space(ROOT, 2_000_000_000, "The packages need")
    VENV.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:  # a log in .venv wouldn't outlive --clear
        run(".venv", [sys.executable, "-m", "venv", "--clear", VENV], Path(scratch, "venv.log"))


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text().strip() == text


def _works() -> bool:
    """Whether .venv has a Python that localvoice runs on, and pip."""
    test = "import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))"
    return PYTHON.exists() and subprocess.run([PYTHON, "-c", test], capture_output=True).returncode == 0


def drop_old_name(env: Mapping[str, str]) -> None:
    """Remove localvoice as it was called until 0.2.0: of two names, either could remove the command."""
    if any(VENV.glob("lib/python*/site-packages/localvoice-[0-9]*.dist-info")):
        run("localvoice", pip(PYTHON, "uninstall", "--yes", "localvoice"), LOG, env)


def install_llama(build: Build, env: Mapping[str, str]) -> None:
    """Install `build`'s wheel, compiling it first where there is none that loads on this machine."""
    if _holds(INSTALLED_BUILD, build.folder.name) and probe(PYTHON, build.cuda, env) is None:
        print("      already there", flush=True)
        return
    INSTALLED_BUILD.unlink(missing_ok=True)
    fault = None
    if kept := build.wheel:
        print(f"      Taking the wheel that was compiled earlier: {kept}", flush=True)
        if fault := _put_in(kept, build, env):
            print(f"      It does not load here ({fault}).", flush=True)
            check_tools(build)
            kept.unlink(missing_ok=True)
    if not kept or fault:
        fault = _put_in(make_wheel(build, env, LOG), build, env)
    if fault:
        raise Failed(
            f"llama-cpp-python was compiled but does not load: {fault}.\n(The whole output: {LOG})\n"
            "Unset CFLAGS, CXXFLAGS and CMAKE_ARGS if you have set them, then run the same command again."
        )
    INSTALLED_BUILD.write_text(f"{build.folder.name}\n")


def _put_in(wheel: Path, build: Build, env: Mapping[str, str]) -> str | None:
    """Install `wheel`; say why it doesn't load, or None if it does."""
    words = ("install", "--no-deps", "--no-index", "--force-reinstall", wheel)
    run("llama-cpp-python", pip(PYTHON, *words), LOG, env)
    return probe(PYTHON, build.cuda, env)


if __name__ == "__main__":
    main()
