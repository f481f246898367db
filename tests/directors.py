"""A director with a stage to save, and the code by which a session is not resumed."""

from collections.abc import Mapping
from typing import Any

import pytest

from localvoice.agent.director import PlainDirector
from localvoice.agent.sessions import Sessions
from localvoice.agent.tools import ToolRegistry
from localvoice.config import AgentSettings
from localvoice.contract.errors import ErrorCode, VoiceError


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
