"""Calls the application's code: hooks, tools, a playbook's handlers. What it raises is a failure of its own.

What `except Exception` lets through would do more harm: a `CancelledError` that is no cancellation of the
turn ends it without a word, and `SystemExit`, also in a task of the application, ends the event loop.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from localvoice.contract.text import in_utf8
from localvoice.log_context import failure

log = logging.getLogger(__name__)

T = TypeVar("T")

_MESSAGE_CHARACTERS: Final = 300
_inside: ContextVar[bool] = ContextVar("inside_application", default=False)


class ApplicationError(Exception):
    """The application's code raised what would have ended more than itself."""


async def run(call: Callable[[], Any]) -> Any:
    """What the call returns, awaited if that can be.

    Raises the exceptions of the application, and `ApplicationError` for what is no `Exception`, among it a
    `CancelledError` of its own making. A cancellation of the surrounding task goes on, also where the
    application's code catches it, and Ctrl-C does.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    cancelled_before = 0 if task is None else task.cancelling()

    def cancelled() -> bool:
        return task is not None and task.cancelling() > cancelled_before

    inside_before = _inside.get()
    _inside.set(True)
    try:
        outcome = call()
        value = await outcome if inspect.isawaitable(outcome) else outcome
    except asyncio.CancelledError as error:
        if task is None or cancelled():
            raise
        raise ApplicationError("it cancelled itself") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, GeneratorExit) and asyncio.current_task(loop) is not task:
            raise  # the application didn't raise it: this very coroutine is closed
        if cancelled():  # or the turn would go on, of which nobody takes anything any more
            raise asyncio.CancelledError from error
        if isinstance(error, Exception):
            raise
        raise unharmed(error) from error
    finally:
        _inside.set(inside_before)  # a token couldn't be reset where another task closes this one
    if cancelled():
        raise asyncio.CancelledError
    return value


def result_of(call: Callable[[], T]) -> T:
    """What a plain call returns. Raises as `run` does: whatever fails is an `Exception`, but for Ctrl-C."""
    try:
        return call()
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise unharmed(error) from error


def contained(function: Callable[[T], None]) -> Callable[[T], None]:
    """The same plain function; what it raises is logged and changes nothing."""

    def call(given: T) -> None:
        try:
            function(given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            log.error("%s failed with %s", getattr(function, "__qualname__", function), failure(error))

    return call


def unharmed(error: BaseException) -> Exception:
    """The same exception, or an `ApplicationError` in its place that harms nothing else."""
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
