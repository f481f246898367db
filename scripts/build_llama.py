"""llama-cpp-python's wheel: compiled once for this machine, kept outside the checkout, checked before use.

The project publishes source only, and a build for the machine's own instruction sets is the fastest, so
each machine compiles its own. What it depends on (see `Build.key`) is part of the folder's name.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steps import LOCKED, Failed, check_space, pip, run

SCRIPTS = Path(__file__).resolve().parent
LLAMA_LOCK = SCRIPTS / "llama.lock"
# The multimodal library, mtmd, is what makes a language model see. Its video part would hand over to ffmpeg
# whatever a client sends that is no image.
LEAN_OPTIONS = ("-DLLAVA_BUILD=ON", "-DMTMD_VIDEO=OFF")
LEAN_FILE = SCRIPTS / "lean.cmake"
COMPILER_VARIABLES = ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS", "CUDACXX", "CUDAARCHS")
# Of the hundred flags of an x86 CPU those that name instruction sets; the others (mitigations, for example)
# change with a kernel update and would make every one of them a reason to compile again.
X86_INSTRUCTION_SETS = r"sse|ssse|avx|amx|fma|f16c|bmi|abm|popcnt|lzcnt|movbe|gfni|vaes|vpclmul|sha|adx|xop"
BUILD_SPACE = 1_000_000_000
# Minutes on one core; they only have to tell minutes from hours.
CORE_MINUTES, CORE_MINUTES_CUDA = 6.6, 53
NO_COMPILER = """\
No working {} compiler was found (tried: {}), and llama-cpp-python has to be compiled.
Install one, then run the same command again:
  Debian, Ubuntu   sudo apt install build-essential
  Fedora           sudo dnf install gcc gcc-c++
  macOS            xcode-select --install"""
NO_CUDA = """\
A build for the GPU needs {}. Install it and run the same command again, or add CUDA=0 to it to use \
the processor alone:
  Debian   sudo apt install nvidia-driver nvidia-cuda-toolkit   (from contrib and non-free)
  Ubuntu   sudo ubuntu-drivers install && sudo apt install nvidia-cuda-toolkit
  Fedora   sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda cuda-toolkit   (RPM Fusion and NVIDIA)"""
PROBE = """
import sys, llama_cpp
from llama_cpp import mtmd_cpp
mtmd_cpp.mtmd_default_marker()
llama_cpp.llama_backend_init()
if "cuda" in sys.argv and not llama_cpp.llama_supports_gpu_offload():
    sys.exit("built without GPU support")
print(llama_cpp.llama_print_system_info().decode())
"""


@dataclass(frozen=True)
class Build:
    """One way to compile llama-cpp-python: whether for an NVIDIA GPU, and the folder that keeps its wheel."""

    cuda: bool
    folder: Path

    @classmethod
    def here(cls, cuda: bool, environ: Mapping[str, str] = os.environ) -> "Build":
        """The build for this machine, user and environment; on macOS each uses the GPU, through Metal."""
        cuda = cuda and sys.platform != "darwin"
        (version,) = re.findall(r"==([\w.]+)", LLAMA_LOCK.read_text())
        key = cls.key(cuda, cpu_features(), environ)
        return cls(cuda, cache_folder(environ) / "wheels" / f"llama-cpp-python-{version}-{key}")

    @staticmethod
    def key(cuda: bool, features: str, environ: Mapping[str, str]) -> str:
        """A short hash of all that makes two builds differ; not of Python, which the wheel doesn't link."""
        parts = {
            "source": LLAMA_LOCK.read_text(),
            "platform": [sysconfig.get_platform(), *platform.libc_ver()],
            "cpu": features,
            "cuda": cuda,
            "lean": [*LEAN_OPTIONS, LEAN_FILE.read_text()],
            "environment": {name: environ.get(name, "") for name in COMPILER_VARIABLES},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def wheel(self) -> Path | None:
        """The finished wheel, if there is one."""
        return next(self.folder.glob("*.whl"), None)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder for what outlives a checkout."""
    if own := environ.get("LOCALVOICE_CACHE"):
        return Path(own).expanduser().absolute()
    try:
        return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "localvoice"
    except RuntimeError:
        raise Failed("This user has no home folder. Name one for the build in LOCALVOICE_CACHE.") from None


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The instruction sets that a build for this very machine may use."""
    known = cpuinfo.read_text() if cpuinfo.is_file() else ""
    if flags := re.search(r"^flags\s*:(.*)", known, re.MULTILINE):
        return " ".join(sorted(flag for flag in flags[1].split() if re.match(X86_INSTRUCTION_SETS, flag)))
    if features := re.search(r"^Features\s*:(.*)", known, re.MULTILINE):
        return " ".join(sorted(features[1].split()))
    if sysctl := shutil.which("sysctl"):
        names = ("machdep.cpu.brand_string", "machdep.cpu.features", "machdep.cpu.leaf7_features")
        return subprocess.run([sysctl, "-n", *names], capture_output=True, text=True).stdout.strip()
    return platform.machine()


def check_tools(build: Build) -> None:
    """Raise `Failed` unless all that `build` needs on this machine is there."""
    for language, variable, names, flags in (
        ("C", "CC", ("cc", "gcc", "clang"), ["-xc"]),
        ("C++", "CXX", ("c++", "g++", "clang++"), ["-xc++", "-std=c++17"]),
    ):
        compiler = os.environ.get(variable) or next(filter(shutil.which, names), names[0])
        if not _compiles([*shlex.split(compiler), *flags]):
            raise Failed(NO_COMPILER.format(language, compiler))
    if build.cuda:
        driver, toolkit = shutil.which("nvidia-smi"), _nvcc()
        missing = [] if driver else ["the NVIDIA driver (no nvidia-smi)"]
        missing += [] if toolkit else ["the CUDA toolkit (no nvcc)"]
        if missing:
            raise Failed(NO_CUDA.format(" and ".join(missing)))
    build.folder.parent.mkdir(parents=True, exist_ok=True)
    otherwise = ", or set LOCALVOICE_CACHE to a folder on a larger disk"
    check_space(build.folder.parent, BUILD_SPACE, "Compiling needs", otherwise)


def _compiles(command: list[str]) -> bool:
    """Whether the compiler makes a program: macOS has a `cc` that only offers to install one."""
    source = f"#include <{'vector' if '-xc++' in command else 'stdio.h'}>\nint main(void) {{ return 0; }}\n"
    with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(OSError):
        command = [*command, "-", "-o", f"{scratch}/probe"]
        return subprocess.run(command, input=source.encode(), capture_output=True).returncode == 0
    return False


def _nvcc() -> str | None:
    """CUDA's compiler: as the environment names it, on the path, or where its installer puts it."""
    return os.environ.get("CUDACXX") or shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def make_wheel(build: Build, env: Mapping[str, str], log: Path) -> Path:
    """Compile `build` and put the wheel into its folder, whole or not at all; return where it is."""
    cores = os.cpu_count() or 1
    minutes = max(1, round((CORE_MINUTES_CUDA if build.cuda else CORE_MINUTES) / cores))
    told = f"for this machine's processor, once: about {minutes} min on {cores} cores. The result is kept"
    print(f"      Compiling it {told} and used again.", flush=True)
    build.folder.mkdir(parents=True, exist_ok=True)
    # In the same file system as its final place, where a rename is atomic.
    with tempfile.TemporaryDirectory(prefix="compiling-", dir=build.folder.parent) as scratch:
        tools, made = Path(scratch, "env", "bin"), Path(scratch, "wheel")
        python = tools / "python"
        run("build environment", [sys.executable, "-m", "venv", tools.parent], log)
        run("build tools", pip(python, "install", *LOCKED, SCRIPTS / "build.lock"), log, env)
        run("check", pip(python, "check"), log, env)
        options = [*LEAN_OPTIONS, f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={LEAN_FILE}"]
        path = f"{tools}{os.pathsep}{env.get('PATH', os.defpath)}"
        settings = {**env, "PATH": path, "TMPDIR": scratch}
        if build.cuda:
            options += ["-DGGML_CUDA=ON"]
            settings["CUDACXX"] = _nvcc() or ""
        settings["SKBUILD_CMAKE_ARGS"] = ";".join(options)
        # Without pip's own cache, which would hand out a wheel built on other terms.
        words = ("wheel", "-v", "--no-cache-dir", "--no-build-isolation", "--no-binary", "llama-cpp-python")
        command = pip(python, *words, "-w", made, *LOCKED, LLAMA_LOCK)
        run("llama-cpp-python", command, log, settings, compiling)
        (wheel,) = made.glob("*.whl")
        return wheel.replace(build.folder / wheel.name)


def compiling(line: str) -> str | None:
    """What a line of pip's or ninja's output says about how far the build is."""
    if step := re.match(r"\s*\[(\d+)/(\d+)\]", line):
        return f"{100 * int(step[1]) // int(step[2]):3d}%  file {step[1]} of {step[2]}"
    if source := re.match(r"\s*Downloading \S+ \(([^)]+)\)", line):
        return f"downloading the source, {source[1]}"
    return "configuring" if "Building wheel" in line else None


def probe(python: Path, cuda: bool, env: Mapping[str, str]) -> str | None:
    """Load the installed library; say what went wrong, or None.

    In a process of its own, because a build for another processor dies of an illegal instruction.
    """
    arguments = ["-c", PROBE, *(["cuda"] if cuda else [])]
    tried = subprocess.run([python, *arguments], env=dict(env), capture_output=True, text=True)
    if tried.returncode == 0:
        return None
    if tried.returncode < 0:
        return f"killed by signal {-tried.returncode}"
    return (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
