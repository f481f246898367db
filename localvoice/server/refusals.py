"""What clients are told for whom there is no place, each in the terms that it understands."""

import logging
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, web

from localvoice.application.hooks import ErrorContext, notify
from localvoice.application.stopwatch import now, unix_ms
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import ErrorMessage
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.server.sockets import send_together
from localvoice.transports.token_bucket import TokenBucket

log = logging.getLogger(__name__)

_LINES: Final = 10
"""Lines in the log about them, a minute: a flood must not fill it."""


class Refusals:
    """Refuses clients that have no session, and notes each as an error."""

    def __init__(self, agent: Agent) -> None:
        """To be made on a running event loop."""
        self._agent = agent
        self._lines = TokenBucket(_LINES / 60, _LINES, now())

    async def close(self, socket: web.WebSocketResponse, error: VoiceError) -> None:
        """Tell a client why, and close its WebSocket with 1013 and the seconds to wait."""
        await self._note(error)
        with suppress(ConnectionError):  # it may have gone already
            send_together(socket.get_extra_info("socket"))
            await socket.send_str(ErrorMessage(error.code, error.message).encode())
            # The seconds for programs; the message says them to people.
            reason = f"retry-after={error.retry_after}".encode()
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=reason)

    async def answer(self, error: VoiceError) -> web.Response:
        """The answer to an upgrade that opens no WebSocket: 503 with the seconds to wait."""
        await self._note(error)
        return web.Response(
            status=503,
            headers={"Retry-After": str(error.retry_after)},
            text=ErrorMessage(error.code, error.message).encode(),
            content_type="application/json",
        )

    async def _note(self, error: VoiceError) -> None:
        tags = {"code": error.code, "component": error.component}
        log.log(logging.DEBUG if self._lines.take(now()) else logging.WARNING, "%s", error, extra=tags)
        self._agent.metrics.increment(Metric.ERRORS, 1, tags)
        context = ErrorContext(error.code, error.component, None, None, unix_ms())
        await notify(self._agent.hooks.on_error, error, context)
