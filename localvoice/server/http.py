"""HTTP below the routes: what aiohttp decides by itself, and has few settings for."""

import asyncio
import logging
import ssl
from functools import partial
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from localvoice.server.security import HEADERS

_log = logging.getLogger(__name__)

_HANDSHAKE_SECONDS: Final = 10.0
"""In which TLS has to be agreed on; asyncio would give a minute to whoever says nothing."""
_HEAD_SECONDS: Final = 10.0
"""In which a request's head has to come; whoever lets one trickle in would hold a socket for ever."""
_SHUTDOWN_SECONDS: Final = 4.0
_BACKLOG: Final = 128


class _Request(web.Request):
    """Its answer has the headers of a safe page, whatever made it; one to what is no HTTP as well."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """Without `Expect`, which aiohttp would answer before the guard is asked. No body is wanted."""
        found = super().headers
        if hdrs.EXPECT not in found:
            return found
        others = CIMultiDict(found)
        del others[hdrs.EXPECT]
        return CIMultiDictProxy(others)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)


async def open_runner(application: web.Application) -> web.AppRunner:
    """The application, ready to be listened for."""
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_log,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        keepalive_timeout=_HEAD_SECONDS,
        lingering_time=0,  # nor is the rest of one read that goes on and on
        auto_decompress=False,  # bodies aren't read, and inflating one of 1 MB holds up all for seconds
    )
    await runner.setup()
    assert runner.server is not None  # it is set up
    runner.server.request_factory = partial(application._make_request, _cls=_Request)
    return runner


async def listen(
    runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext | None
) -> asyncio.Server:
    """Listen, by TLS if there is a context; aiohttp's own sites have no such deadline. Raises `OSError`."""
    assert runner.server is not None
    return await asyncio.get_running_loop().create_server(
        runner.server,
        host,
        port,
        ssl=context,
        backlog=_BACKLOG,
        ssl_handshake_timeout=None if context is None else _HANDSHAKE_SECONDS,
    )


def _is_ours(record: logging.LogRecord) -> bool:
    """What is no HTTP is answered with 400. A traceback of each would let a stranger fill the log.

    A line that is cut short may hold the token.
    """
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_log.addFilter(_is_ours)
