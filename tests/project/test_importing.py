"""Importing `localvoice` does nothing to the process; `configure_process` does; models load in silence."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import localvoice
from tests.support.folders import ROOT
from tests.support.public_names import IMPORTS, PUBLIC

SET = {"ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "GOMP_SPINCOUNT"}
ENGINES = {
    "onnxruntime",
    "llama_cpp",
    "faster_whisper",
    "ctranslate2",
    "piper",
    "av",
    "aiortc",
    "huggingface_hub",
}

LOOK = """
import atexit, codecs, ctypes, faulthandler, gc, json, locale, logging, os, resource, signal, sys, threading
import warnings
HOOKS = 'excepthook', 'unraisablehook', 'displayhook', 'stdin', 'stdout', 'stderr'
def look():
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    try:
        registered = bool(codecs.lookup_error("localvoice.spelt"))
    except LookupError:
        registered = False
    return {
        "environment": dict(os.environ),
        "exit": atexit._ncallbacks(),
        "signals": [repr(signal.getsignal(each)) for each in signal.valid_signals()],
        "hooks": [repr(getattr(sys, name)) for name in HOOKS] + [repr(threading.excepthook)],
        "tracing": [sys.gettrace() is None, sys.getprofile() is None],
        "crashes": faulthandler.is_enabled(),
        "threads": [each.name for each in threading.enumerate()] + os.listdir("/proc/self/task"),
        "handlers": sorted(repr(handler) for logger in loggers for handler in logger.handlers),
        "root level": logging.root.level,
        "files": sorted(os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{each}")),
        "limits": [resource.getrlimit(each) for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
        "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
        "locale": locale.setlocale(locale.LC_ALL),
        "warnings": [repr(each) for each in warnings.filters],
        "folder": os.getcwd(), "umask": os.umask(0o22),
        "collector": gc.get_threshold(),
        "errors": registered,
    }
"""


def child(program: str, **environment: str) -> Any:
    """What a fresh process prints as JSON."""
    kept = {name: value for name, value in os.environ.items() if name not in SET}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=kept | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_importing_every_public_name_changes_nothing_in_the_process() -> None:
    """numpy, which any program may import, is there before: it adjusts two filters of warnings."""
    program = f"""{LOOK}
import numpy
before = look()
from localvoice import *
import localvoice
names = {{name: getattr(localvoice, name) for name in {PUBLIC}}}
after = look()
print(json.dumps([before, after, sorted({{each.partition(".")[0] for each in sys.modules}})]))
"""
    before, after, modules = child(program)
    for what in before:
        assert after[what] == before[what], what
    assert not ENGINES & set(modules), "no library of an engine"


def test_the_command_line_loads_neither_numpy_nor_a_conversation() -> None:
    """They take longest, and `localvoice version` or `localvoice models list` needs neither."""
    loaded = child("import json, sys, localvoice.cli; print(json.dumps(sorted(sys.modules)))")
    assert "localvoice.cli" in loaded
    assert not {"numpy", "aiohttp", "localvoice.conversation.agent", "localvoice.startup"} & set(loaded)


def test_public_names_are_plain() -> None:
    assert "__getattr__" not in vars(localvoice)
    assert [alias.asname for alias in IMPORTS] == [alias.name for alias in IMPORTS]
    assert len(set(PUBLIC)) == len(PUBLIC)


def test_configuring_sets_what_libraries_read() -> None:
    look = f"import json, os; print(json.dumps({{k: os.environ.get(k) for k in {sorted(SET)}}}))"
    configure = "import localvoice; localvoice.configure_process({}); localvoice.configure_process({});"
    silent = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    assert child(configure.format("", "") + look) == silent | {"GOMP_SPINCOUNT": "3000"}
    assert child(configure.format("", "") + look, GOMP_SPINCOUNT="7") == silent | {"GOMP_SPINCOUNT": "7"}
    online = child(configure.format(*["offline=False"] * 2) + look)
    assert online == dict.fromkeys(SET) | {"ORT_DISABLE_TELEMETRY": "1", "GOMP_SPINCOUNT": "3000"}


def test_the_exit_is_set_up_once() -> None:
    program = """
import atexit, json, localvoice
before = atexit._ncallbacks()
localvoice.configure_process(), localvoice.configure_process()
print(json.dumps(atexit._ncallbacks() - before))
"""
    assert child(program) == 1


@pytest.mark.parametrize("module", ["loading", "onnx", "piper", "piper_voice", "patches", "silero"])
def test_engines_load_in_silence_also_where_the_process_is_not_configured(module: str) -> None:
    """The library reads the variable as it is imported: by then it is set."""
    program = f"""
import importlib, importlib.abc, json, os, sys
seen = []
class Spy(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Spy())
importlib.import_module("localvoice.engines.{module}")
print(json.dumps([seen, "onnxruntime" in sys.modules]))
"""
    assert child(program) == [["1"], True]


@pytest.mark.parametrize("act", ["localvoice.configure_process()", "asyncio.run(talk())"])
def test_where_it_is_too_late_for_silence_nothing_is_loaded(act: str) -> None:
    program = f"""
import asyncio, json, sys, types
import localvoice
async def talk():
    async with localvoice.LocalVoice(localvoice.Settings()).dialogue():
        raise AssertionError("it began")
sys.modules["onnxruntime"] = types.ModuleType("onnxruntime")
try:
    {act}
except localvoice.ConfigError as error:
    print(json.dumps(str(error)))
"""
    told = child(program)
    assert "telemetry" in told and "Call localvoice.configure_process()" in told


def test_a_hub_library_that_was_imported_before_is_told_of() -> None:
    program = """
import json, logging, huggingface_hub.constants, localvoice
lines = []
class Notes(logging.Handler):
    def emit(self, record): lines.append(record.getMessage())
logging.getLogger().addHandler(Notes())
localvoice.configure_process()
print(json.dumps(lines))
"""
    (line,) = child(program)
    assert "huggingface_hub was imported before configure_process()" in line
