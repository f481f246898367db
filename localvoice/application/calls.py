"""Calls the application's code: hooks, tools, a playbook's handlers. What it raises is a failure of its own.

`except Exception` isn't enough: a `CancelledError` of the application's own would end the turn without a
word, and `SystemExit`, also in one of its tasks, would end the event loop.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from localvoice.contract.messages import in_utf8

log = logging.getLogger(__name__)

T = TypeVar("T")

_MESSAGE_CHARACTERS: Final = 300
_inside: ContextVar[bool] = ContextVar("inside_application", default=False)


class ApplicationError(Exception):
    """The application's code raised what would have ended more than itself."""


async def run(call: Callable[[], Any]) -> Any:
    """What the call returns, awaited if that can be.

    Raises what the application raises, `ApplicationError` in place of all that is no `Exception`, such as a
    `CancelledError` of its own making. A cancellation of the surrounding task comes out even if the
    application's code catches it, and so does Ctrl-C.
    """
    token = _inside.set(True)
    try:
        outcome = result_of(call)
    finally:
        _inside.reset(token)
    if not inspect.isawaitable(outcome):
        return outcome
    # In a task of its own: Python's TaskGroup, for one, cancels the task that it is in when a task of the
    # group fails, and that could not be told from a cancellation of the turn.
    work = asyncio.ensure_future(_settled(outcome))
    if inspect.iscoroutine(outcome):
        work.add_done_callback(lambda _: outcome.close())  # it may never have begun
    cancelled = False
    try:
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                cancelled = True
                work.cancel()
    finally:
        work.cancel()  # where this very coroutine is closed
    if cancelled:
        raise asyncio.CancelledError
    value, error = (None, ApplicationError("it cancelled itself")) if work.cancelled() else work.result()
    if error is not None:
        raise error
    return value


async def _settled(outcome: Awaitable[Any]) -> tuple[Any, Exception | None]:
    _inside.set(True)
    try:
        return await outcome, None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as error:
        return None, unharmed(error)


def result_of(call: Callable[[], T]) -> T:
    """What a plain call returns. Raises as `run` does: each failure is an `Exception`, except Ctrl-C."""
    try:
        return call()
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise unharmed(error) from error


def unharmed(error: BaseException) -> Exception:
    """The same exception, or an `ApplicationError` in its place."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return ApplicationError(f"it raised {type(error).__name__}")


def message_of(error: BaseException) -> str:
    """What an exception of the application says, cut if it is long; its `__str__` may fail, too."""
    try:
        message = in_utf8(str(error))
    except BaseException as own:
        return f"<no words: {type(own).__name__}>"
    return message if len(message) <= _MESSAGE_CHARACTERS else f"{message[:_MESSAGE_CHARACTERS]}…"


@contextmanager
def contained_tasks() -> Iterator[None]:
    """Inside, no task that the application's code begins can end the running loop with `SystemExit`."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def make(loop: asyncio.AbstractEventLoop, coro: Any, **given: Any) -> asyncio.Future[Any]:
        inner = _contained(coro) if _inside.get() and inspect.iscoroutine(coro) else coro
        return asyncio.Task(inner, loop=loop, **given) if before is None else before(loop, inner, **given)

    loop.set_task_factory(cast(Any, make))
    try:
        yield
    finally:
        loop.set_task_factory(before)


async def _contained(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except SystemExit as error:
        raise ApplicationError("a task of it raised SystemExit") from error
