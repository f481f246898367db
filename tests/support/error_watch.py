"""Sees all that is told of an error: the client's message, the hook, the figure and the log line."""

import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from localvoice.application.hooks import ErrorContext, Hooks, TurnContext
from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import ErrorMessage
from localvoice.observability.adapters import InMemoryMetrics
from tests.support.server_site import Client
from tests.support.session_room import Room

SAID: Final = "rhubarb"
"""What the users and the agent talk about; no log line may hold it."""


class Watch:
    """What an application and an operator see of errors."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "localvoice")
        self.metrics = InMemoryMetrics()
        self.hooks = Hooks(on_error=self._on_error, on_turn_start=self._on_turn)
        self._caplog = caplog
        self._errors: list[tuple[Exception, ErrorContext]] = []
        self._turns: list[str] = []

    def brought(self, **more: Any) -> dict[str, Any]:
        """For `serving`."""
        return {"hooks": self.hooks, "metrics": self.metrics, **more}

    def told(self, client: Client, code: ErrorCode, component: Component, advice: str, **more: Any) -> str:
        """Assert that this is the session's one error, and told to everyone; gives the client's sentence."""
        return self.saw(client.received, client.received[0]["id"], code, component, advice, **more)

    def told_in(self, room: Room, code: ErrorCode, component: Component, advice: str, **more: Any) -> str:
        """The same of a session without a server."""
        self.metrics = room.metrics
        told = [json.loads(message.encode()) for message in room.all(ErrorMessage)]
        return self.saw(told, room.conversation.id, code, component, advice, **more)

    def saw(
        self,
        told: Sequence[Mapping[str, Any]],
        session_id: str | None,
        code: ErrorCode,
        component: Component,
        advice: str,
        in_turn: bool = False,
    ) -> str:
        """As `told`, of any messages; `advice` is a pattern of what the sentence must say."""
        (message,) = [each for each in told if each["type"] == "error"]
        assert message["code"] == code and set(message) == {"type", "code", "message"}
        assert re.search(advice, message["message"]), message["message"]
        ((error, context),) = self._errors
        assert isinstance(error, VoiceError) and (error.code, error.message) == (code, message["message"])
        assert (context.code, context.component, context.session_id) == (code, component, session_id)
        assert context.turn_id == (self._turns[-1] if in_turn else None)
        assert abs(context.timestamp - 1000 * time.time()) < 60_000
        assert self.metrics.count("llmrtc.errors") == 1
        assert self.metrics.count("llmrtc.errors", code=code, component=component) == 1
        (record,) = [each for each in self._caplog.records if code in each.getMessage()]
        assert record.levelno >= logging.WARNING
        assert (vars(record)["code"], vars(record)["component"]) == (code, component)
        self.log_holds_no_transcript()
        return str(message["message"])

    def log_holds_no_transcript(self) -> None:
        assert SAID not in self._caplog.text

    def _on_error(self, error: Exception, context: ErrorContext) -> None:
        self._errors.append((error, context))

    def _on_turn(self, context: TurnContext, _audio: AudioFrame | None) -> None:
        self._turns.append(context.turn_id)


async def ask(client: Client) -> None:
    """A typed message about what no log may hold."""
    await client.send("text", text=f"Tell me about {SAID}.")


async def goes_on(client: Client) -> None:
    """The next turn is answered, and no error is added."""
    errors = len(client.errors())
    await ask(client)
    await client.expect("tts-complete")
    assert len(client.errors()) == errors
