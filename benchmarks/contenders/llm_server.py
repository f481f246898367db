"""llama-cpp-python behind OpenAI's streaming chat API, with a GGUF file and a count of threads as arguments.

For pipecat. It is the project's own build of llama.cpp: all contenders compute with the same code.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import llama_cpp
from aiohttp import web

from localvoice.config import AgentSettings

AGENT = AgentSettings()
CONTEXT_TOKENS = 4096
"""As in our profiles that peers are measured on."""
REPEAT_PENALTY = 1.1
"""Likewise."""


class LlmServer:
    """One model, one request at a time."""

    def __init__(self, path: str, threads: int) -> None:
        self._llama = llama_cpp.Llama(path, n_ctx=CONTEXT_TOKENS, n_threads=threads, verbose=False)
        self._in_use = threading.Lock()

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions; a client that hangs up ends the decoding."""
        body = await request.json()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        chunks: Any = self._llama.create_chat_completion(
            body["messages"],
            temperature=body.get("temperature", 0.0),
            max_tokens=body.get("max_tokens", AGENT.max_tokens),
            repeat_penalty=REPEAT_PENALTY,
            stream=True,
        )
        while (chunk := await asyncio.to_thread(self._next, chunks)) is not None:
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    def _next(self, chunks: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
        # A request that is given up may still be computing one token when the next one begins.
        with self._in_use:
            return next(chunks, None)


async def serve(path: str, threads: int) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", LlmServer(path, threads).complete)
    await serve_app(app)


async def serve_app(app: web.Application) -> None:
    """Serve on a free port of this machine, and print the address, until the process is ended."""
    # With cancellation a client that hangs up is noticed at once.
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
