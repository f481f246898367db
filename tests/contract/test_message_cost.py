"""No message keeps the event loop for long or takes much memory, whatever is in it."""

import json
import sys
import time

import pytest

from localvoice.contract.client_messages import (
    MAX_TEXT_CHARS,
    Attachments,
    parse,
)
from localvoice.contract.errors import VoiceError
from tests.support.large_messages import large_messages
from tests.support.server_site import serving
from tests.support.stalls import STALL_SECONDS, measured

MEMORY_MB = 60
"""A message of 4 MiB is held a few times: as it came, as Python's text, as its fields."""

GENEROUS = {"limits": {"message_burst": 10_000, "megabytes_per_second": 10_000, "turns_per_minute": 10_000}}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the peak from now on")


def _parsed(text: str) -> bool:
    try:
        parse(text)
    except VoiceError as error:
        assert len(error.message) < 500
        return False
    return True


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in large_messages()])
def test_whatever_its_shape_a_large_message_costs_little(text: str) -> None:
    with measured() as cost:
        begun = time.thread_time()
        _parsed(text)
        seconds = time.thread_time() - begun
    assert seconds < STALL_SECONDS
    assert cost.memory_mb < MEMORY_MB


def test_what_a_client_may_well_send_is_no_such_message() -> None:
    """Four large pictures, described at length by somebody who loves commas."""
    alt = "," * MAX_TEXT_CHARS
    picture = {"data": "A" * 1_000_000, "mimeType": "image/png", "alt": alt}
    message = parse(json.dumps({"type": "attachments", "attachments": [picture] * 4}))
    assert isinstance(message, Attachments) and len(message.attachments) == 4


async def test_a_server_under_large_messages_answers_others() -> None:
    async with serving(groups=GENEROUS) as site, site.client() as client, site.client() as other:
        await other.sync()
        texts = [text for _, text in large_messages()]
        with measured() as cost:
            for text in texts:
                await client.socket.send_str(text)
                await other.sync()
            await client.sync()
        assert cost.stall < STALL_SECONDS, str(cost)
        assert cost.memory_mb < 3 * MEMORY_MB, str(cost)
        assert "INTERNAL_ERROR" not in client.errors()
