"""Calls the application's functions that a playbook names, and keeps what goes wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from localvoice.application import calls as application
from localvoice.application.calls import message_of
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.playbook.schema import Handler

WAIT_SECONDS: Final = 10.0
"""For one handler of the application, or for the LLM to say what the user wants: somebody waits."""

Result = TypeVar("Result")


class Handlers:
    """The handlers of one conversation. None of them breaks it."""

    def __init__(self, by_name: Mapping[str, Callable[..., Any]]) -> None:
        self._by_name = by_name
        self._problems: list[VoiceError] = []

    async def call(self, handler: Handler | None, what: str, context: object) -> object:
        """What the handler returns; None if there is none, and if it fails."""
        if handler is None:
            return None

        function = self._by_name[handler] if isinstance(handler, str) else handler
        return await self.attempt(application.run(lambda: function(context)), what)

    async def attempt(self, work: Awaitable[Result], what: str) -> Result | None:
        """The work's result; None if it fails or takes too long, which is kept as a problem."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await work
        except Exception as error:
            words = message_of(error) or f"it took longer than {WAIT_SECONDS:.0f} s"
            message = f"The playbook's {what} failed: {type(error).__name__}: {words}"
            problem = VoiceError(ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK, message)
            problem.__cause__ = error
            self._problems.append(problem)
            return None

    def take_problems(self) -> Sequence[VoiceError]:
        """What has failed since this was last asked."""
        problems, self._problems = self._problems, []
        return problems
