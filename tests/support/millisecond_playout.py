"""A playout whose samples are milliseconds."""

import asyncio

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout

RATE = 1_000
"""Samples a second, so that a sample is a millisecond."""


@pytest.fixture
async def playout() -> Playout:
    playout = Playout(RATE)
    playout.begin()
    return playout


def tone(milliseconds: int) -> AudioFrame:
    return AudioFrame(np.full(milliseconds, 5000, np.int16), RATE)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
