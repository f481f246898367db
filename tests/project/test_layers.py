"""The house: imports go downwards only, and only the file named after a library imports it."""

import ast
from pathlib import Path

import pytest

from tests.support.folders import ROOT
from tests.support.own_modules import MODULES, PACKAGE

# A folder or a module of the top level -> what of ours it may import, itself aside.
MAY_IMPORT = {
    "contract": set[str](),
    "languages": set(),
    "files": set(),
    "version": set(),
    "machine": set(),
    "config": {"files"},
    "setting_sources": {"config", "files"},
    "observability/log_context": set(),
    "observability/stopwatch": set(),
    "audio": {"contract", "config", "files"},
    "process/memory": set(),
    "engines": {"contract", "config", "audio", "machine", "process/memory"},
    "catalog": {"contract", "config", "files", "machine", "version"},
    "application": {"contract", "audio", "engines", "observability/log_context", "observability/stopwatch"},
    "tools": {
        "contract",
        "engines",
        "application",
        "languages",
        "observability/log_context",
        "observability/stopwatch",
    },
    "conversation": {
        "contract",
        "languages",
        "config",
        "files",
        "audio",
        "engines",
        "application",
        "tools",
        "version",
        "observability/log_context",
        "observability/stopwatch",
    },
    "playbook": {
        "contract",
        "config",
        "files",
        "engines",
        "application",
        "tools",
        "conversation",
        "observability/log_context",
        "observability/stopwatch",
    },
    "observability": {
        "contract",
        "config",
        "audio",
        "engines",
        "application",
        "observability/log_context",
        "observability/stopwatch",
    },
    "transports": {
        "contract",
        "config",
        "audio",
        "engines",
        "application",
        "conversation",
        "observability/log_context",
    },
    "server": {
        "contract",
        "config",
        "files",
        "audio",
        "engines",
        "application",
        "conversation",
        "observability",
        "observability/log_context",
        "observability/stopwatch",
        "transports",
        "version",
    },
}
# The process itself puts everything together; what these are is the command line's own affair.
TOP = {"__init__", "__main__", "api", "cli", "startup", "process"}

ONLY_IN = {
    "aiortc": {
        "transports/webrtc/peer.py",
        "transports/webrtc/sdp.py",
        "transports/webrtc/sound.py",
        "transports/webrtc/patches/connection.py",
        "transports/webrtc/patches/dtls.py",
        "transports/webrtc/patches/sctp.py",
    },
    "av": {
        "audio/recordings.py",
        "transports/webrtc/sound.py",
    },
    "aioice": {"transports/webrtc/patches/connection.py", "transports/webrtc/stun.py"},
    "OpenSSL": {"transports/webrtc/patches/dtls.py"},
    "pylibsrtp": {"transports/webrtc/patches/dtls.py"},
    "ifaddr": {"transports/webrtc/addresses.py"},
    "sounddevice": {"transports/soundcard/devices.py"},
    "llama_cpp": {
        "engines/llama/cache.py",
        "engines/llama/engine.py",
        "engines/llama/images.py",
        "engines/llama/lease.py",
        "engines/llama/marks.py",
        "engines/llama/pace.py",
        "engines/llama/patches.py",
        "engines/llama/prompt.py",
        "engines/llama/speech.py",
        "engines/llama/template.py",
        "engines/llama/vision.py",
        "engines/llama/writing.py",
    },
    "faster_whisper": {"engines/whisper.py", "engines/whisper_text.py"},
    "ctranslate2": {"engines/whisper.py"},
    "piper": {"engines/piper.py", "engines/patches.py"},
    "onnxruntime": {"engines/onnx.py"},
    "soxr": {"audio/frames.py"},
    "aiohttp": {
        "server/admission.py",
        "server/app.py",
        "server/connection.py",
        "server/patches.py",
        "server/security.py",
    },
    "huggingface_hub": {"catalog/sources.py"},
    "pypi_simple": {"catalog/sources.py"},
    "jsonschema": {"tools/tool.py", "tools/schema.py"},
    "text_to_num": {"tools/builtin/words/numbers.py"},
    "holidays": {"tools/builtin/feasts.py"},
    "dateutil": {
        "tools/builtin/dates.py",
        "tools/builtin/feasts.py",
        "tools/builtin/words/months.py",
        "tools/builtin/words/periods.py",
    },
    "yaml": {"playbook/yaml_text.py"},
    "cryptography": {"conversation/store.py", "server/certificate.py"},
    "segno": {"server/endpoint.py"},
    "prometheus_client": {"observability/prometheus.py"},
    "opentelemetry": {"observability/opentelemetry.py"},
    "pythonjsonlogger": {"process/logs.py"},
    "torch": set[str](),
    "transformers": set(),
}


def imported(module: Path) -> set[str]:
    """Full names of all that a module imports, wherever in it the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative imports hide where they lead"
            assert node.module
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer_of(module: Path) -> str:
    """The folder of the top level, or the module where it has rules of its own."""
    path = module.relative_to(PACKAGE).with_suffix("")
    return path.as_posix() if path.as_posix() in MAY_IMPORT else path.parts[0]


def own_layers(module: Path) -> set[str]:
    """Which folders and top modules of ours it imports."""
    layers: set[str] = set()
    for name in imported(module):
        first, *rest = name.split(".")
        if first == "localvoice":
            paths = [PACKAGE.joinpath(*rest[:count]) for count in (2, 1) if count <= len(rest)]
            found = next((path for path in paths if path.is_dir() or path.with_suffix(".py").is_file()), None)
            layers.add("__init__" if found is None else layer_of(found.with_suffix(".py")))
    return layers - {layer_of(module)}


def test_there_is_a_house() -> None:
    assert {layer_of(module) for module in MODULES} >= set(MAY_IMPORT)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards_only(module: Path) -> None:
    layer = layer_of(module)
    if layer in TOP:
        return
    assert layer in MAY_IMPORT, f"{layer} has no place in the house yet: give it one here"
    upward = own_layers(module) - MAY_IMPORT[layer]
    assert not upward, f"{layer} may not import {', '.join(sorted(upward))}"


def test_nothing_below_imports_the_command_line() -> None:
    for module in MODULES:
        if layer_of(module) not in TOP:
            assert not own_layers(module) & TOP, module


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_only_the_file_named_after_a_library_imports_it(library: str) -> None:
    users = {
        module.relative_to(PACKAGE).as_posix()
        for module in MODULES
        if any(name.split(".")[0] == library for name in imported(module))
    }
    assert users <= ONLY_IN[library]


def test_an_upward_import_would_be_seen(tmp_path: Path) -> None:
    module = tmp_path / "bad.py"
    module.write_text(
        "def later():\n    from localvoice.server.app import VoiceServer\n    import aiortc.sdp\n"
    )
    assert imported(module) == {"localvoice.server.app.VoiceServer", "aiortc.sdp"}


def test_no_test_file_imports_another_one() -> None:
    """What several need has a module of its own, as `own_modules.py` is."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names if node.level)]
            else:
                continue
            assert not [name for name in names if name.startswith("test_")], file
