"""A server that talks as an OpenAI-compatible one does: streams the given answers as events."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class ChatServer:
    """Answers with the script's lines, word by word, and keeps what it was asked."""

    def __init__(self, *script: str, pause: float = 0.0) -> None:
        self.script = list(script)
        self.pause = pause
        self.asked: list[dict[str, Any]] = []
        self.cut_off = 0
        self.finish = "stop"
        self.url = ""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        if not self.script:
            raise web.HTTPServiceUnavailable(text="the model is still loading")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for piece in re.findall(r"\s*\S+", self.script.pop(0)):
                await self._send(response, {"delta": {"content": piece}, "finish_reason": None})
                await asyncio.sleep(self.pause)
            await self._send(response, {"delta": {}, "finish_reason": self.finish})
            await response.write(b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.cut_off += 1
            raise
        return response

    @staticmethod
    async def _send(response: web.StreamResponse, choice: dict[str, Any]) -> None:
        await response.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its address."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield self.url
        finally:
            await runner.cleanup()
