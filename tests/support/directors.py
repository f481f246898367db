"""Agents led by a playbook, a director with a stage to save, and the code of a session not resumed."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from localvoice import Playbook
from localvoice.application.hooks import Hooks
from localvoice.config import AgentSettings, Settings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.contract.metrics import Metrics, NoMetrics
from localvoice.conversation.agent import Agent, PlainDirector
from localvoice.conversation.conversations import Sessions
from localvoice.engines.types import Engines
from localvoice.playbook.director import PlaybookDirector
from localvoice.tools import ToolRegistry


def agent_of(
    settings: Settings,
    engines: Engines,
    hooks: Hooks | None = None,
    metrics: Metrics | None = None,
    tools: ToolRegistry | None = None,
    playbook: Playbook | None = None,
    handlers: Mapping[str, Callable[..., Any]] | None = None,
    **brought: Any,
) -> Agent:
    """An agent that the playbook leads, as `startup` makes it."""
    hooks, metrics, tools = hooks or Hooks(), metrics or NoMetrics(), tools or ToolRegistry()
    made_of = (tools, settings.agent, engines.llm, hooks, metrics, handlers or {})
    direct = None if playbook is None else partial(PlaybookDirector, playbook, *made_of)
    brought = {"own_persona": playbook is not None, **brought}
    return Agent(settings, engines, hooks, metrics, tools, direct, **brought)


class FakeDirector(PlainDirector):
    """Has a stage to save."""

    def __init__(self, session_id: str) -> None:
        super().__init__(AgentSettings.model_validate({}), ToolRegistry())
        self.session_id = session_id
        self.saved: Mapping[str, Any] = {}

    def save(self) -> Mapping[str, Any]:
        return self.saved

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.saved = saved


async def refusal(sessions: Sessions, session_id: str) -> ErrorCode:
    with pytest.raises(VoiceError) as caught:
        sessions.resume(session_id)
    return caught.value.code
