"""What is measured: the names that dashboards know, and the adapter that carries the figures somewhere.

Names are exact, those of the cloud server; the last eight are our own, in the same style. Durations are in
milliseconds. Ready-made adapters are in `localvoice.observability`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol

Tags = Mapping[str, str]
"""Such as {"model": "whisper-base", "status": "success"}. Few values each: every combination is a series."""
NO_TAGS: Final[Tags] = {}
"""The default of `tags`."""


class Metric(StrEnum):
    """Every metric, by its name on the wire."""

    STT_DURATION = "llmrtc.stt.duration_ms"
    LLM_TTFT = "llmrtc.llm.ttft_ms"
    LLM_DURATION = "llmrtc.llm.duration_ms"
    LLM_TOKENS = "llmrtc.llm.tokens"
    TTS_DURATION = "llmrtc.tts.duration_ms"
    TURN_DURATION = "llmrtc.turn.duration_ms"
    SESSION_DURATION = "llmrtc.session.duration_ms"
    SESSIONS_ACTIVE = "llmrtc.sessions.active"
    SESSION_TURNS = "llmrtc.session.turns"
    ERRORS = "llmrtc.errors"
    CONNECTIONS_ACTIVE = "llmrtc.connections.active"
    RECONNECTIONS = "llmrtc.reconnections"
    TOOL_DURATION = "llmrtc.tool.duration_ms"
    TOOL_CALLS = "llmrtc.tool.calls"
    TOOL_ERRORS = "llmrtc.tool.errors"
    STAGE_DURATION = "llmrtc.playbook.stage.duration_ms"
    TRANSITIONS = "llmrtc.playbook.transitions"
    STAGE_TURNS = "llmrtc.playbook.stage.turns"
    STAGE_CURRENT = "llmrtc.playbook.stage.current"
    COMPLETIONS = "llmrtc.playbook.completions"

    VOICE_TO_VOICE = "llmrtc.voice_to_voice.duration_ms"
    """End of the user's speech to the first audible sample of the reply. Our own."""
    ENDPOINT_DELAY = "llmrtc.endpoint.delay_ms"
    """End of the user's speech to the decision that their turn has ended. Our own."""
    TRANSCRIPT_DELAY = "llmrtc.transcript.delay_ms"
    """End of the user's speech to its words being known. Our own."""
    FIRST_TOKEN_DELAY = "llmrtc.first_token.delay_ms"
    """End of the user's speech to the LLM's first word. Our own."""
    FIRST_PIECE_DELAY = "llmrtc.first_piece.delay_ms"
    """End of the user's speech to the first piece that can be spoken. Our own."""
    BARGE_IN_STOP = "llmrtc.barge_in.stop_ms"
    """Onset of the user's speech over the agent's to the agent's silence. Our own."""
    CONVERSATIONS_ACTIVE = "llmrtc.conversations.active"
    """Connections that converse. Our own."""
    CONVERSATIONS_CAPACITY = "llmrtc.conversations.capacity"
    """How many may at a time. Our own."""


class Metrics(Protocol):
    """Takes figures. Called on the event loop while people talk, so it neither blocks nor raises."""

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        """Count `value` more of something."""

    def timing(self, name: str, ms: float, tags: Tags = NO_TAGS) -> None:
        """Something took so many milliseconds."""

    def gauge(self, name: str, value: float, tags: Tags = NO_TAGS) -> None:
        """Something stands at this value now."""


class NoMetrics:
    """Measures nothing. The default."""

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        """Forget it."""

    def timing(self, name: str, ms: float, tags: Tags = NO_TAGS) -> None:
        """Forget it."""

    def gauge(self, name: str, value: float, tags: Tags = NO_TAGS) -> None:
        """Forget it."""
