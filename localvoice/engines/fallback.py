"""An LLM that is asked again when it fails, and replaced when it can't be loaded or keeps failing."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, Prompt, ReplyItem, Sampling, ToolOffer
from localvoice.engines.deadlines import reply_within
from localvoice.engines.reasoning import spoken
from localvoice.engines.types import Llm

FAILURES_TO_SWITCH: Final = 3
"""Failures in a row, of all requests together, after which the fallback takes over."""
LONGEST_PAUSE_SECONDS: Final = 4.0
"""Between two tries. The user is waiting for the answer."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LlmSource:
    """A language model that may be loaded."""

    name: str
    """Its catalogue name."""
    load: Callable[[], Awaitable[Llm]]
    """Loads it; leaves nothing loaded when it raises or is cancelled."""
    sampling: Sampling = Sampling()
    """Its own numbers, for requests that leave them to the model."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long an LLM may take, and how often it is asked."""

    first_token_seconds: float = 30.0
    """Until the first delta or tool call of a reply."""
    reply_seconds: float = 120.0
    """For the whole reply, without the time in which its reader keeps it waiting."""
    retries: int = 3
    """Further tries of a request that failed before it gave anything."""
    backoff_seconds: float = 0.25
    """Pause before the first retry; it doubles with each. Without jitter: jobs of one model queue anyway."""


def log_switch(failed: str, successor: str, error: Exception) -> None:
    logger.warning("the language model %s takes over from %s: %s", successor, failed, _sentence(error))


async def load_with_fallback(
    primary: LlmSource, fallback: LlmSource | None, policy: RetryPolicy
) -> "ResilientLlm":
    """Load the primary, or the fallback where that fails.

    Raises what the primary's loader raises if there is no fallback; `VoiceError` LLM_ERROR, naming both, if
    that can't be loaded either.
    """
    try:
        return ResilientLlm(await primary.load(), policy, fallback, primary.sampling)
    except Exception as error:  # whatever the reason: without a model nothing works
        if fallback is None:
            raise
        try:
            llm = await fallback.load()
        except Exception as second:
            raise VoiceError(
                ErrorCode.LLM_ERROR,
                Component.LLM,
                f"Neither language model can be loaded. {primary.name}: {_sentence(error)} "
                f"Its fallback {fallback.name}: {_sentence(second)}",
            ) from second
        log_switch(primary.name, llm.name, error)
        return ResilientLlm(llm, policy, sampling=fallback.sampling)


class ResilientLlm:
    """The LLM of the process, with deadlines, retries and a fallback. Implements `Llm`."""

    def __init__(
        self,
        primary: Llm,
        policy: RetryPolicy,
        fallback: LlmSource | None = None,
        sampling: Sampling = Sampling(),  # noqa: B008  # frozen
    ) -> None:
        """`sampling` is the primary's own."""
        self._primary = primary
        self._sampling = sampling  # of the one in use
        self._llm = primary  # the one in use
        self._policy = policy
        self._fallback = fallback  # None also when it has taken over
        self._failures = 0  # in a row, while there is a fallback
        self._switching: asyncio.Task[None] | None = None
        self._fallback_failure = ""

    @property
    def name(self) -> str:
        """Of the model in use."""
        return self._llm.name

    @property
    def context_tokens(self) -> int:
        return self._llm.context_tokens

    @property
    def sees(self) -> bool:
        return self._llm.sees

    async def prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> Prompt:
        """Tokenise the messages for the model in use; another that takes over does so again."""
        return await self._llm.prompt(messages, offer)

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        """A request that fails before it gave anything is made again, and goes to the fallback if that takes
        over; once something was given, the failure is final. Raises `VoiceError` LLM_ERROR or LLM_TIMEOUT.
        """
        llm, tries = self._llm, 0
        failure: VoiceError | None = None
        while True:
            if self._switching is not None:
                # Shared by all requests, so it goes on when one of them is cancelled.
                await asyncio.wait({self._switching})
            if llm is not self._llm:
                llm, tries = self._llm, 0
            elif failure is not None and tries > self._policy.retries:
                raise self._given_up(failure, tries) from failure
            given = False
            limits = self._policy.first_token_seconds, self._policy.reply_seconds
            try:
                numbers = sampling.filled(self._sampling)
                reply = llm.reply(messages, numbers, offer, aside)  # an application's own may fail here, too
                async with aclosing(spoken(reply_within(reply, *limits))) as items:
                    async for item in items:
                        given = True
                        yield item
                self._failures = 0
                return
            except VoiceError as error:
                if error.retryable:
                    self._count(llm, error)
                if given or not error.retryable:
                    raise
                failure, tries = error, tries + 1
            if tries <= self._policy.retries and self._switching is None:
                pause = self._policy.backoff_seconds * 2.0 ** (tries - 1)
                await asyncio.sleep(min(pause, LONGEST_PAUSE_SECONDS))

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        """Read messages that the next prompt will begin with. No user waits for it, so it is tried once."""
        await self._llm.prepare(messages, offer)

    async def forget(self) -> None:
        """Keep nothing of any conversation, also in a model that is no longer in use.

        Raises `VoiceError` LLM_ERROR, or LLM_TIMEOUT if one is stuck: the user waits to hear that it is done.
        """
        seconds = self._policy.first_token_seconds
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(llm.forget() for llm in {self._primary, self._llm}))
        except TimeoutError as error:
            raise VoiceError(
                ErrorCode.LLM_TIMEOUT,
                Component.LLM,
                f"The language model could not forget within {seconds:g} s. Restart localvoice: that clears "
                "its memory.",
            ) from error

    async def warm_up(self) -> None:
        await self._llm.warm_up()

    async def close(self) -> None:
        """End both models; one that is being loaded is not."""
        self._fallback = None
        if self._switching is not None:
            self._switching.cancel()
            await asyncio.wait({self._switching})
        await asyncio.gather(*(llm.close() for llm in {self._primary, self._llm}))

    def _count(self, llm: Llm, error: VoiceError) -> None:
        """Note a failure; begin to load the fallback if it was one too many."""
        logger.warning("the language model %s failed: %s", llm.name, error.message)
        if self._fallback is None:
            return
        self._failures += 1
        if self._failures >= FAILURES_TO_SWITCH and self._switching is None:
            self._switching = asyncio.create_task(self._switch(self._fallback, error))

    async def _switch(self, source: LlmSource, error: VoiceError) -> None:
        try:
            llm = await source.load()
        except Exception as failure:  # whatever the reason: the primary is all that is left
            logger.warning("the fallback %s can't be loaded: %s", source.name, _sentence(failure))
            self._fallback_failure = f"Its fallback {source.name} can't be loaded: {_sentence(failure)}"
            self._failures = 0  # after as many failures more it is tried again
        else:
            self._llm, self._fallback, self._fallback_failure = llm, None, ""
            self._sampling = source.sampling
            log_switch(self._primary.name, llm.name, error)
        finally:
            self._switching = None

    def _given_up(self, failure: VoiceError, tries: int) -> VoiceError:
        told = [failure.message]
        if tries > 1:
            told.append(f"{self._llm.name} was asked {tries} times.")
        if self._fallback_failure:
            told.append(self._fallback_failure)
        return VoiceError(failure.code, failure.component, " ".join(told), failure.retryable)


def _sentence(error: Exception) -> str:
    return error.message if isinstance(error, VoiceError) else str(error)
