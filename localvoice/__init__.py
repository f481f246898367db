"""A voice agent that runs wholly on your own machine, offline.

The names below are the public API; each is described in its own module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from localvoice.api import LocalVoice
    from localvoice.application.hooks import (
        ErrorContext,
        Hooks,
        LlmRequest,
        LlmResult,
        PlaybookContext,
        Rejection,
        Timing,
        ToolResult,
        TurnContext,
    )
    from localvoice.audio.frames import AudioFrame
    from localvoice.audio.wav import read_wav, wav_bytes
    from localvoice.config import ConfigError, Settings
    from localvoice.contract.errors import ErrorCode, VoiceError
    from localvoice.engines.types import ToolCall, Transcript
    from localvoice.playbook import Playbook, load_playbook
    from localvoice.setting_sources import load_settings
    from localvoice.tools import Tool, ToolContext, ToolError, ToolRegistry, tool
    from localvoice.version import __version__

__all__ = [
    "AudioFrame",
    "ConfigError",
    "ErrorCode",
    "ErrorContext",
    "Hooks",
    "LlmRequest",
    "LlmResult",
    "LocalVoice",
    "Playbook",
    "PlaybookContext",
    "Rejection",
    "Settings",
    "Timing",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolRegistry",
    "ToolResult",
    "Transcript",
    "TurnContext",
    "VoiceError",
    "__version__",
    "load_playbook",
    "load_settings",
    "read_wav",
    "tool",
    "wav_bytes",
]

_HOMES: Final = {
    "localvoice.application.hooks": (
        "ErrorContext",
        "Hooks",
        "LlmRequest",
        "LlmResult",
        "PlaybookContext",
        "Rejection",
        "Timing",
        "ToolResult",
        "TurnContext",
    ),
    "localvoice.playbook": ("Playbook", "load_playbook"),
    "localvoice.tools": ("Tool", "ToolContext", "ToolError", "ToolRegistry", "tool"),
    "localvoice.api": ("LocalVoice",),
    "localvoice.audio.frames": ("AudioFrame",),
    "localvoice.audio.wav": ("read_wav", "wav_bytes"),
    "localvoice.config": ("ConfigError", "Settings"),
    "localvoice.setting_sources": ("load_settings",),
    "localvoice.contract.errors": ("ErrorCode", "VoiceError"),
    "localvoice.engines.types": ("ToolCall", "Transcript"),
    "localvoice.version": ("__version__",),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for.

    The engines tell the hub's library that there is no network; the downloader, which needs it, imports this
    package, too.
    """
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
