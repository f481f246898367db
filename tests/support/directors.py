"""A director with a stage to save, and the code by which a session is not resumed."""

from collections.abc import Mapping
from typing import Any

import pytest

from localvoice.config import AgentSettings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.conversation.conversations import Sessions
from localvoice.conversation.director import PlainDirector
from localvoice.tools import ToolRegistry


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
