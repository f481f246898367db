"""What waits on the data channel is bounded, in number and in size, while a message is worked on."""

from typing import Any

import pytest

from localvoice.config import LimitSettings, Settings
from localvoice.server.inbound import InboundMessages, PayloadDecoder
from localvoice.transports.inbox import FrameInbox

UNLIMITED = Settings(
    limits=LimitSettings(messages_per_second=1e9, message_burst=10**9, megabytes_per_second=1e6)
)


@pytest.mark.virtual_clock
@pytest.mark.parametrize(("size", "most"), [(256 * 1024, 64), (1, 1_000)])
async def test_a_client_that_sends_more_than_is_read_is_let_go(size: int, most: int) -> None:
    nothing: Any = None
    left: list[int] = []
    sent = 0
    inbound = InboundMessages(
        UNLIMITED, nothing, FrameInbox(), nothing, lambda: left.append(sent), PayloadDecoder()
    )
    while not left:
        sent += 1
        inbound.on_channel_text("x" * size)
    assert left == [most + 1]
