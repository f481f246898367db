"""The models, each behind a small Protocol in a worker of its own; the only blocking code."""

import os
import sys
from typing import Final

from localvoice.config import ConfigError

_TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"


def keep_silent() -> None:
    """Switch off onnxruntime's telemetry, which begins when the library is imported.

    Every module that imports it, or a library that does, calls this first. Raises `ConfigError` if it was
    imported already.
    """
    if os.environ.get(_TELEMETRY) == "1":
        return
    if "onnxruntime" in sys.modules:
        raise ConfigError(
            "onnxruntime was imported before its telemetry was switched off, so this process may send data "
            "to Microsoft. Call localvoice.configure_process() before anything imports onnxruntime (piper "
            f"does), or start Python with {_TELEMETRY}=1 in its environment."
        )
    os.environ[_TELEMETRY] = "1"
