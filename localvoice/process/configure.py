"""What a program does to its process before it loads models. Importing `localvoice` does none of it."""

import logging
import os
import resource
import sys
from typing import Final

from localvoice.engines import keep_silent
from localvoice.process.ending import guard_loop, stop_threads_at_exit
from localvoice.process.memory import guard_memory, use_one_arena

log = logging.getLogger(__name__)

_OPEN_FILES: Final = 4096
"""A call takes a dozen, and clients that have said nothing yet take some as well."""
_SPINS: Final = "3000"
"""llama.cpp's threads spin where they wait for each other. libgomp's default, several minutes, takes the
cores from every other model as soon as one thread is late; this is about 10 µs, then sleep."""


def configure_process(*, offline: bool = True) -> None:
    """Set up this process for models. Call it first: libraries read what it sets when they are imported.

    `LocalVoice.run()` and the command line call it; calling it again changes nothing. It

    - keeps onnxruntime from sending telemetry (as loading models does in any case), and, if `offline`, the
      hub's library from using the network: False is for a process that also downloads from the hub;
    - keeps the process out of core dumps, and its memory from other programs of the same user (Linux);
    - allows 4096 open files, where the system allows that;
    - has glibc keep one heap for all threads, and libgomp's threads sleep instead of spinning;
    - ends the process if its event loop stands still for 30 s while an agent is loaded;
    - ends the process at its exit also where a thread is stuck in a model.

    Raises `ConfigError` if onnxruntime is imported already and may have sent telemetry.
    """
    keep_silent()
    if offline:
        _keep_hub_silent()
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    guard_memory()
    raise_file_limit()
    use_one_arena()
    guard_loop()
    stop_threads_at_exit()


def _keep_hub_silent() -> None:
    """A second lock: no engine asks the hub, because each refuses a folder in which a file is missing."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    hub = sys.modules.get("huggingface_hub.constants")
    if hub is not None and not hub.HF_HUB_OFFLINE:
        log.warning(
            "huggingface_hub was imported before configure_process() and stays online. The engines do not "
            "use it; to forbid the network to other code as well, call configure_process() first"
        )


def raise_file_limit() -> None:
    """Raise the limit on open files and sockets: many systems begin with few, and allow more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:
        log.warning("this process may have no more than %d files open: %s", soft, error)
