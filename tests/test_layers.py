"""The house: imports go downwards only, and only the file named after a library imports it."""

import ast
from pathlib import Path

import pytest
from own_modules import MODULES, PACKAGE

# A folder or a module of the top level -> what of ours it may import, itself aside.
MAY_IMPORT = {
    "contract": set[str](),
    "config": {"paths"},
    "audio": {"contract", "config", "named_file"},
    "engines": {"contract", "config", "audio", "heap"},
    "catalog": {"contract", "config", "named_file", "paths", "regular_file"},
    "heap": set(),
    "log_context": set(),
    "log_flood": set(),
    "paths": set(),
    "setting_sources": {"config", "named_file", "paths"},
    "private_file": {"regular_file"},
    "named_file": set(),
    "regular_file": set(),
    "token_bucket": set(),
    "version": set(),
    "agent": {"contract", "config", "audio", "engines", "log_context", "named_file", "private_file"},
    "observability": {"contract", "config", "audio", "engines", "agent", "log_context"},
    "transports": {"contract", "config", "audio", "engines", "agent", "token_bucket"},
    "server": {
        "contract",
        "config",
        "audio",
        "engines",
        "agent",
        "observability",
        "transports",
        "log_context",
        "paths",
        "private_file",
        "regular_file",
        "token_bucket",
        "version",
    },
}
# The process itself puts everything together; what these are is the command line's own affair.
TOP = {
    "__init__",
    "api",
    "cli",
    "ending",
    "startup",
    "talking",
    "terminal",
    "logs",
    "memory_guard",
    "file_limit",
    "open_secrets",
    "loop_guard",
    "output",
    "probe",
    "probe_child",
    "__main__",
}

ONLY_IN = {
    "aiortc": {
        "transports/webrtc.py",
        "transports/dtls_guard.py",
        "transports/rtp_guard.py",
        "transports/sctp_guard.py",
        "transports/sctp_streams.py",
        "transports/ice_guard.py",
        "transports/jitter.py",
        "transports/offers.py",
        "transports/peer_connection.py",
        "transports/speech_track.py",
    },
    "av": {
        "audio/resampling.py",
        "audio/sound_file.py",
        "transports/jitter.py",
        "transports/speech_track.py",
    },
    "aioice": {"transports/ice_guard.py", "transports/stun.py"},
    "OpenSSL": {"transports/dtls_guard.py"},
    "pylibsrtp": {"transports/rtp_guard.py"},
    "ifaddr": {"transports/candidates.py"},
    "sounddevice": {"transports/portaudio.py"},
    "llama_cpp": {
        "engines/llama_choice.py",
        "engines/llama_pace.py",
        "engines/llama.py",
        "engines/seeing.py",
        "engines/vision.py",
        "engines/tool_grammar.py",
        "engines/llama_model.py",
        "engines/llama_prompt.py",
        "engines/llama_state.py",
    },
    "faster_whisper": {"engines/whisper.py", "engines/whisper_words.py"},
    "ctranslate2": {"engines/whisper.py", "engines/threads.py"},
    "piper": {"engines/piper.py", "engines/espeak.py"},
    "onnxruntime": {"engines/onnx.py", "engines/silero.py", "engines/piper.py"},
    "soxr": {"audio/frames.py", "audio/piece.py"},
    "aiohttp": {
        "server/app.py",
        "server/http.py",
        "server/full_house.py",
        "server/refusals.py",
        "server/connection.py",
        "server/security.py",
    },
    "huggingface_hub": {"catalog/hub.py"},
    "pypi_simple": {"catalog/packages.py"},
    "jsonschema": {"agent/tools/tool.py", "agent/tools/schema.py"},
    "yaml": {"agent/playbook/loading.py"},
    "cryptography": {"agent/session_store.py", "server/certificate.py"},
    "segno": {"server/invitation.py"},
    "prometheus_client": {"observability/prometheus.py"},
    "opentelemetry": {"observability/opentelemetry.py"},
    "pythonjsonlogger": {"logs.py"},
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
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def own_layers(module: Path) -> set[str]:
    """Which folders and top modules of ours it imports."""
    layers: set[str] = set()
    for name in imported(module):
        first, *rest = name.split(".")
        if first == "localvoice":
            is_part = rest and ((PACKAGE / rest[0]).is_dir() or (PACKAGE / f"{rest[0]}.py").is_file())
            layers.add(rest[0] if is_part else "__init__")
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
    for file in sorted(Path(__file__).parent.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names if node.level)]
            else:
                continue
            assert not [name for name in names if name.startswith("test_")], file
