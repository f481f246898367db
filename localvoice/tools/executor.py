"""Runs the tools that the LLM calls. A failure in a tool is an answer to the LLM, not an exception."""

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from localvoice.application import calls as application
from localvoice.application.calls import ApplicationError, message_of, unharmed
from localvoice.application.hooks import ToolResult
from localvoice.engines.chat import ToolCall
from localvoice.observability.log_context import failure
from localvoice.tools import (
    InvalidArgumentsError,
    Tool,
    ToolContext,
    ToolError,
    ToolRegistry,
    UnknownToolError,
)
from localvoice.tools.result import TakesLongError, as_json

log = logging.getLogger(__name__)

T = TypeVar("T")
Execute = Callable[[], Awaitable[ToolResult]]
Around = Callable[[ToolCall, Execute], Awaitable[ToolResult]]

_LEAVE_SECONDS: Final = 0.1  # how long a cancelled coroutine may clean up: the user already speaks
_ANNOUNCE_SECONDS: Final = 5.0  # how long a tool's thread waits for the event loop to take its announcement

_left_behind: set[asyncio.Task[Any]] = set()
"""Coroutines that go on after they were cancelled; the event loop itself doesn't keep them alive."""


class ToolExecutor:
    """Runs calls of the registry's tools."""

    def __init__(self, registry: ToolRegistry, timeout_seconds: float = 30.0, max_parallel: int = 10) -> None:
        """Each call may take `timeout_seconds`; at most `max_parallel` of them run at once."""
        if not timeout_seconds > 0 or max_parallel < 1:
            raise ValueError("the deadline of tools must be above 0 s, and at least 1 of them must run")
        self._registry = registry
        self._timeout_seconds = timeout_seconds
        self._max_parallel = max_parallel

    async def run(
        self,
        calls: Sequence[ToolCall],
        context_of: Callable[[ToolCall], ToolContext],
        around: Around = lambda _, execute: execute(),
    ) -> tuple[ToolResult, ...]:
        """All results, in the calls' order: sequential tools run first, in order, then the parallel ones.

        `around` is called for each and awaits what it is given, or returns a result of its own. Cancelling
        this sets `cancelled` of every context, cancels the coroutines, and leaves a stuck thread behind.
        """
        contexts = [context_of(call) for call in calls]
        slots = asyncio.Semaphore(self._max_parallel)

        results: dict[int, ToolResult] = {}

        async def run_one(index: int) -> None:
            call = calls[index]
            async with slots:
                try:
                    results[index] = await around(call, partial(self._execute, call, contexts[index]))
                except Exception as error:
                    log.error("what surrounds the tool %s failed with %s", call.name, failure(error))
                    results[index] = _failed(call, "internal error", 0.0)

        sequential = {tool.name for tool in self._registry if tool.policy == "sequential"}
        try:
            for index, call in enumerate(calls):
                if call.name in sequential:
                    await run_one(index)
            async with asyncio.TaskGroup() as group:
                for index, call in enumerate(calls):
                    if call.name not in sequential:
                        group.create_task(run_one(index))
        except asyncio.CancelledError:
            for context in contexts:
                context.cancelled.set()
            raise
        return tuple(results[index] for index in range(len(calls)))

    async def _execute(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """Run one call; only a cancellation comes out of it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            tool = self._registry.get(call.name)
            value = await self._bounded(tool, tool.validate(call.arguments), context)
        except Exception as error:
            words = why_it_failed(call.name, error)
            failed = _failed(call, words, loop.time() - began)
            return replace(failed, says=words) if self._is_for_the_user(call, error) else failed
        duration_ms = (loop.time() - began) * 1000
        says = value if tool.speaks and isinstance(value, str) else ""
        return ToolResult(call.call_id, call.name, True, value, duration_ms=duration_ms, says=says)

    def _is_for_the_user(self, call: ToolCall, error: Exception) -> bool:
        """Whether the tool itself says why it failed. Of a wrong call the LLM is told: it can do better."""
        wrongly = isinstance(error, InvalidArgumentsError | UnknownToolError)
        return isinstance(error, ToolError) and not wrongly and self._registry.get(call.name).speaks

    async def _bounded(self, tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """What the handler returns, as JSON types; raises `ToolError` at the deadline."""
        job = asyncio.create_task(_handle(tool, arguments, context), name=f"tool {tool.name}")
        try:
            done, _ = await asyncio.wait([job], timeout=self._timeout_seconds)
        except asyncio.CancelledError:
            await _leave(job, tool, context)
            raise
        if not done:
            await _leave(job, tool, context)
            raise ToolError(f"took longer than {self._timeout_seconds:g} seconds and was stopped")
        if job.cancelled():
            raise ApplicationError("it cancelled itself")
        return job.result()


def why_it_failed(name: str, error: Exception) -> str:
    """In words for the LLM. A failure that the tool didn't put into words itself is logged as well."""
    if isinstance(error, ToolError):
        return message_of(error)
    if isinstance(error, ApplicationError):
        log.warning("the tool %s failed: %s", name, error)
        return str(error)
    log.warning("the tool %s failed with %s", name, failure(error))
    return f"{type(error).__name__}: {message_of(error)}"


async def _handle(tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> Any:
    """The result as JSON types, which is made where the tool runs: it may be an iterator, or large."""

    def wanted() -> bool:
        return not context.cancelled.is_set()

    if _is_async(tool.handler):
        value = await application.run(lambda: tool.handler(arguments, context))
    else:
        loop = asyncio.get_running_loop()

        async def announce(seconds: float, text: str) -> None:
            context.announce(seconds, text)

        def announce_from_thread(seconds: float, text: str) -> None:
            asyncio.run_coroutine_threadsafe(announce(seconds, text), loop).result(_ANNOUNCE_SECONDS)

        def work() -> Any:
            given = tool.handler(arguments, replace(context, announce=announce_from_thread))
            return given if inspect.isawaitable(given) else as_json(given, wanted)

        given = await _in_thread(tool.name, work)
        if not inspect.isawaitable(given):
            return given
        value = await application.run(lambda: given)
    try:
        return as_json(value)
    except TakesLongError:
        return await _in_thread(tool.name, partial(as_json, value, wanted))


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


async def _in_thread(name: str, function: Callable[[], T]) -> T:
    """A daemon thread of its own: a few stuck tools would use up the threads of `asyncio.to_thread` for all
    sessions, and the process couldn't end before they do."""
    job: concurrent.futures.Future[T] = concurrent.futures.Future()
    variables = contextvars.copy_context()

    def work() -> None:
        try:
            job.set_result(variables.run(function))
        except BaseException as error:
            job.set_exception(unharmed(error))

    job.set_running_or_notify_cancel()
    threading.Thread(target=work, name=f"tool-{name}", daemon=True).start()
    return await asyncio.wrap_future(job)


async def _leave(job: asyncio.Task[Any], tool: Tool, context: ToolContext) -> None:
    """Tell a tool to stop. One that doesn't is left behind."""
    context.cancelled.set()
    job.cancel()
    try:
        done, _ = await asyncio.wait([job], timeout=_LEAVE_SECONDS)
    finally:
        if not job.done():
            _left_behind.add(job)
        job.add_done_callback(_forget)
    if not done:
        log.warning("the tool %s ignores that it was stopped", tool.name)


def _forget(job: asyncio.Task[Any]) -> None:
    _left_behind.discard(job)
    if not job.cancelled():
        job.exception()  # asked for, so that asyncio doesn't report it: nothing waits for it any more


def _failed(call: ToolCall, words: str, seconds: float) -> ToolResult:
    return ToolResult(call.call_id, call.name, success=False, error=words, duration_ms=seconds * 1000)
