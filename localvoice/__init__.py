"""A voice agent that runs wholly on your own machine, offline.

These names are the public API; docs/api.md describes them. Importing them changes nothing in the process and
loads no engine's library. A program calls `configure_process` first; `LocalVoice.run()` does so itself.
"""

from localvoice.api import LocalVoice
from localvoice.application.hooks import (
    ErrorContext,
    Hooks,
    LlmRequest,
    LlmResult,
    PlaybookContext,
    Rejection,
    ToolResult,
    TurnContext,
)
from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.catalog.errors import CatalogError, ModelFilesError
from localvoice.config import ConfigError, Settings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import (
    ErrorMessage,
    LlmReply,
    ServerMessage,
    StateMessage,
    TranscriptMessage,
    TurnMetrics,
)
from localvoice.contract.metrics import NO_TAGS, Metric, Metrics, NoMetrics, Tags
from localvoice.engines.types import (
    ChatMessage,
    CutOff,
    Image,
    Llm,
    OwnEngines,
    Prompt,
    ReplyItem,
    Sampling,
    Stt,
    ToolCall,
    ToolOffer,
    ToolSpec,
    Transcript,
    Tts,
    TurnDetector,
    Vad,
    VadStream,
)
from localvoice.observability.adapters import ConsoleMetrics, InMemoryMetrics
from localvoice.observability.hook_sets import (
    error_hooks,
    logging_hooks,
    timing_hooks,
    verbose_hooks,
)
from localvoice.observability.log_context import session_tag
from localvoice.observability.opentelemetry import OpenTelemetryMetrics
from localvoice.observability.prometheus import PrometheusMetrics
from localvoice.observability.stopwatch import Timing
from localvoice.playbook.conditions import (
    CustomCondition,
    IntentCondition,
    JudgingContext,
    KeywordCondition,
    LlmDecisionCondition,
    MaxTurnsCondition,
    TimeoutCondition,
    ToolCallCondition,
)
from localvoice.playbook.loading import llmrtc_playbook, llmrtc_tool, load_playbook
from localvoice.playbook.schema import (
    LlmConfig,
    Playbook,
    Stage,
    Transition,
    TransitionAction,
    check_playbook,
)
from localvoice.playbook.state import StageContext
from localvoice.process.configure import configure_process
from localvoice.process.logs import set_up_logging
from localvoice.setting_sources import load_settings
from localvoice.tools import Tool, ToolContext, ToolError, ToolRegistry, tool
from localvoice.version import __version__

__all__ = [
    "AudioFrame",
    "CatalogError",
    "ChatMessage",
    "Component",
    "ConfigError",
    "ConsoleMetrics",
    "CustomCondition",
    "CutOff",
    "ErrorCode",
    "ErrorContext",
    "ErrorMessage",
    "Hooks",
    "Image",
    "InMemoryMetrics",
    "IntentCondition",
    "JudgingContext",
    "KeywordCondition",
    "Llm",
    "LlmConfig",
    "LlmDecisionCondition",
    "LlmReply",
    "LlmRequest",
    "LlmResult",
    "LocalVoice",
    "MaxTurnsCondition",
    "Metric",
    "Metrics",
    "ModelFilesError",
    "NO_TAGS",
    "NoMetrics",
    "OpenTelemetryMetrics",
    "OwnEngines",
    "Playbook",
    "PlaybookContext",
    "PrometheusMetrics",
    "Prompt",
    "Rejection",
    "ReplyItem",
    "Sampling",
    "ServerMessage",
    "Settings",
    "Stage",
    "StageContext",
    "StateMessage",
    "Stt",
    "Tags",
    "TimeoutCondition",
    "Timing",
    "Tool",
    "ToolCall",
    "ToolCallCondition",
    "ToolContext",
    "ToolError",
    "ToolOffer",
    "ToolRegistry",
    "ToolResult",
    "ToolSpec",
    "Transcript",
    "TranscriptMessage",
    "Transition",
    "TransitionAction",
    "Tts",
    "TurnContext",
    "TurnDetector",
    "TurnMetrics",
    "Vad",
    "VadStream",
    "VoiceError",
    "__version__",
    "check_playbook",
    "configure_process",
    "error_hooks",
    "llmrtc_playbook",
    "llmrtc_tool",
    "load_playbook",
    "load_settings",
    "logging_hooks",
    "read_wav",
    "session_tag",
    "set_up_logging",
    "timing_hooks",
    "tool",
    "verbose_hooks",
    "wav_bytes",
]
