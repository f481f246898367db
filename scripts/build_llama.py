"""llama-cpp-python's wheel: compiled once for this machine, kept outside the checkout, checked before use.

The project publishes source only, and a build for the machine's own instruction sets is the fastest, so
each machine compiles its own. What it depends on (see `Build.key`) is part of the folder's name.
"""

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

from steps import CXX_PACKAGES, LOCKED, Failed, run

SCRIPTS = Path(__file__).resolve().parent
LLAMA_LOCK = SCRIPTS / "llama.lock"
BUILD_LOCK = SCRIPTS / "build.lock"
# The multimodal library, mtmd, is what makes a language model see. Its video part would hand over to ffmpeg
# whatever a client sends that is no image.
LEAN_OPTIONS = ("-DLLAVA_BUILD=ON", "-DMTMD_VIDEO=OFF")
LEAN_FILE = SCRIPTS / "lean.cmake"
COMPILER_VARIABLES = ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS", "CUDACXX", "CUDAARCHS")
# Of the hundred flags of an x86 CPU those that name instruction sets; the others (mitigations, for example)
# change with a kernel update and would make every one of them a reason to compile again.
X86_INSTRUCTION_SETS = re.compile(
    r"(sse|ssse|avx|amx|fma|f16c|bmi|abm|popcnt|lzcnt|movbe|gfni|vaes|vpclmul|sha|adx|xop)"
)
BUILD_SPACE = 1_000_000_000
# Measured: 3:17 on 2 cores for 136 steps; it only has to tell minutes from hours.
CPU_CORE_MINUTES = 6.6
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
    """One way to compile llama-cpp-python, and where its wheel is kept."""

    cuda: bool
    """Whether the layers can run on an NVIDIA GPU."""
    folder: Path
    """The cache folder of just this build."""

    @classmethod
    def here(cls, cuda: bool, environ: Mapping[str, str] = os.environ) -> "Build":
        """The build for this machine, user and environment."""
        version = re.search(r"==([\w.]+)", LLAMA_LOCK.read_text())
        assert version is not None, f"{LLAMA_LOCK} pins no version"
        key = cls.key(cuda, cpu_features(), environ)
        return cls(cuda, cache_folder(environ) / "wheels" / f"llama-cpp-python-{version[1]}-{key}")

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
        return next(iter(sorted(self.folder.glob("*.whl"))), None)

    @property
    def minutes(self) -> int:
        """About how long compiling takes here."""
        return max(1, round(CPU_CORE_MINUTES / (os.cpu_count() or 1) * (8 if self.cuda else 1)))


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder for what outlives a checkout, $LOCALVOICE_CACHE or one in the user's cache folder."""
    if own := environ.get("LOCALVOICE_CACHE"):
        return Path(own).expanduser().absolute()
    if cache := environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "localvoice"
    try:
        return Path.home() / ".cache" / "localvoice"
    except RuntimeError:
        raise Failed("This user has no home folder. Name one for the build in LOCALVOICE_CACHE.") from None


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The instruction sets that a build for this very machine may use."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "flags":
                return " ".join(sorted(f for f in value.split() if X86_INSTRUCTION_SETS.match(f)))
            if name.strip() == "Features":
                return " ".join(sorted(value.split()))
    if sysctl := shutil.which("sysctl"):
        names = ("machdep.cpu.brand_string", "machdep.cpu.features", "machdep.cpu.leaf7_features")
        asked = subprocess.run([sysctl, "-n", *names], capture_output=True, text=True, check=False)
        return asked.stdout.strip()
    return platform.machine()


def check_tools(build: Build) -> None:
    """Raise `Failed` unless all that `build` needs on this machine is there."""
    for language, variable, names, flags in (
        ("C", "CC", ("cc", "gcc", "clang"), ("-x", "c")),
        ("C++", "CXX", ("c++", "g++", "clang++"), ("-x", "c++", "-std=c++17")),
    ):
        named = os.environ.get(variable)
        compiler = shlex.split(named) if named else [next(filter(shutil.which, names), names[0])]
        if not _compiles([*compiler, *flags]):
            raise Failed(
                f"No working {language} compiler was found (tried: {' '.join(compiler)}), and "
                "llama-cpp-python has to be compiled. Install one, then run the same command again:\n"
                f"{CXX_PACKAGES}"
            )
    if build.cuda:
        _check_cuda()
    folder = build.folder.parent
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < BUILD_SPACE:
        raise Failed(
            f"Compiling needs about {BUILD_SPACE / 1e9:.0f} GB in {folder}, and {free / 1e9:.1f} GB are "
            "free. Free some, or set LOCALVOICE_CACHE to a folder on a larger disk; then run the same "
            "command again."
        )


def _compiles(command: list[str]) -> bool:
    """Whether the compiler makes a program: macOS has a `cc` that only offers to install one."""
    source = "#include <vector>\n" if "c++" in command else "#include <stdio.h>\n"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            tried = subprocess.run(
                [*command, "-", "-o", f"{scratch}/probe"],
                input=f"{source}int main(void) {{ return 0; }}\n",
                text=True,
                capture_output=True,
                check=False,
            )
        except OSError:
            return False
        return tried.returncode == 0


def _nvcc() -> str | None:
    """CUDA's compiler: as the environment names it, on the path, or where its installer puts it."""
    return os.environ.get("CUDACXX") or shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def _check_cuda() -> None:
    """Raise `Failed` unless an NVIDIA driver and CUDA's compiler are there."""
    missing = []
    if not shutil.which("nvidia-smi"):
        missing.append("the NVIDIA driver (no nvidia-smi)")
    if not _nvcc():
        missing.append("the CUDA toolkit (no nvcc)")
    if missing:
        raise Failed(
            f"A build for the GPU needs {' and '.join(missing)}. Install it and run the same command again, "
            "or add CUDA=0 to it to use the processor alone:\n"
            "  Debian   sudo apt install nvidia-driver nvidia-cuda-toolkit   (from contrib and non-free)\n"
            "  Ubuntu   sudo ubuntu-drivers install && sudo apt install nvidia-cuda-toolkit\n"
            "  Fedora   sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda cuda-toolkit"
            "   (from RPM Fusion and NVIDIA)"
        )


def make_wheel(build: Build, pip_env: Mapping[str, str], log: Path) -> Path:
    """Compile `build` and put the wheel into its folder, whole or not at all; return where it is."""
    cores = os.cpu_count() or 1
    print(
        f"      Compiling it for this machine's processor, once: about {build.minutes} min on {cores} cores. "
        "The result is kept and used again.",
        flush=True,
    )
    build.folder.mkdir(parents=True, exist_ok=True)
    # Beside its final place, because only within one file system a rename is atomic.
    with tempfile.TemporaryDirectory(prefix="compiling-", dir=build.folder.parent) as name:
        scratch = Path(name)
        run("build environment", [sys.executable, "-m", "venv", scratch / "env"], log)
        builder = scratch / "env" / "bin" / "python"
        pip: list[str | Path] = [builder, "-m", "pip"]
        run("build tools", [*pip, "install", *LOCKED, BUILD_LOCK], log, pip_env)
        run("check", [*pip, "check"], log, pip_env)
        # Without pip's own cache, which would hand out a wheel built on other terms.
        wheel_command = [*pip, "wheel", "-v", "--no-cache-dir", "--no-build-isolation"]
        wheel_command += ["--no-binary", "llama-cpp-python", "-w", scratch / "wheel", *LOCKED, LLAMA_LOCK]
        run("llama-cpp-python", wheel_command, log, _compile_env(build, builder, scratch, pip_env), _status)
        (wheel,) = (scratch / "wheel").glob("*.whl")
        return wheel.replace(build.folder / wheel.name)


def _compile_env(build: Build, python: Path, scratch: Path, pip_env: Mapping[str, str]) -> dict[str, str]:
    """The environment of the compilation: its tools first on the path, its options, its scratch space."""
    options = [*LEAN_OPTIONS, f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={LEAN_FILE}"]
    options += ["-DGGML_CUDA=ON"] if build.cuda else []
    env = {**pip_env, "SKBUILD_CMAKE_ARGS": ";".join(options), "TMPDIR": str(scratch)}
    env["PATH"] = f"{python.parent}{os.pathsep}{pip_env.get('PATH', os.defpath)}"
    if build.cuda and (nvcc := _nvcc()):
        env["CUDACXX"] = nvcc
    return env


def _status(line: str) -> str | None:
    """What a line of pip's or ninja's output says about how far the build is."""
    if step := re.match(r"\s*\[(\d+)/(\d+)\]", line):
        return f"{100 * int(step[1]) // int(step[2]):3d}%  file {step[1]} of {step[2]}"
    if source := re.match(r"\s*Downloading \S+ \(([^)]+)\)", line):
        return f"downloading the source, {source[1]}"
    return "configuring" if "Building wheel" in line else None


def probe(python: Path, cuda: bool, env: Mapping[str, str]) -> str | None:
    """Load the installed library in a process of its own; say what went wrong, or None.

    In a process of its own, because a build for another processor dies of an illegal instruction.
    """
    command = [str(python), "-c", PROBE, *(["cuda"] if cuda else [])]
    tried = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return None
    if tried.returncode < 0:
        return f"killed by signal {-tried.returncode}"
    return next(iter(tried.stderr.strip().splitlines()[-1:]), f"exit status {tried.returncode}")
