"""The guard against an SCTP parameter without length, on which aiortc collects the same bytes for ever."""

import struct
import time

import google_crc32c
import pytest
from aiortc import rtcsctptransport
from aiortc.rtcsctptransport import InitChunk, encode_params, parse_packet, serialize_packet
from hypothesis import given
from hypothesis import strategies as st

from localvoice.transports.webrtc import peer as _  # noqa: F401 - what installs it
from localvoice.transports.webrtc.patches import sctp as sctp_guard


def parameter(length: int, body: bytes = b"") -> bytes:
    return struct.pack("!HH", 0x8008, length) + body


def init_packet(params: bytes) -> bytes:
    """A whole packet whose INIT chunk carries these parameters."""
    chunk = InitChunk()
    chunk.initiate_tag = 1
    chunk.advertised_rwnd = 1024
    chunk.outbound_streams = chunk.inbound_streams = 1
    chunk.initial_tsn = 1
    chunk.params = [(0x8008, params)]
    packet = serialize_packet(5000, 5000, 0, chunk)
    # The parameters stand inside one that is whole: cut its header off and correct the lengths around it.
    return _with_body(packet, packet[16:32] + params)


def _with_body(packet: bytes, body: bytes) -> bytes:
    data = packet[:8] + b"\0\0\0\0" + packet[12:14] + struct.pack("!H", 4 + len(body)) + body
    data += b"\0" * (-len(body) % 4)
    checksum = struct.pack("<L", google_crc32c.value(data))
    return data[:8] + checksum + data[12:]


def test_the_guard_is_in_place() -> None:
    assert rtcsctptransport.decode_params is sctp_guard.decode_params


def test_round_trips_are_not_measured_by_a_clock_that_may_be_moved() -> None:
    assert rtcsctptransport.time.time is time.monotonic  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", [0, 1, 2, 3])
@pytest.mark.parametrize("before", [b"", parameter(8, b"abcd"), parameter(5, b"a\0\0\0")])
def test_an_impossible_length_is_refused(before: bytes, length: int) -> None:
    with pytest.raises(ValueError, match=f"impossible length {length}"):
        sctp_guard.decode_params(before + parameter(length) + b"\0" * 8)


@pytest.mark.parametrize("length", [0, 3])
def test_a_packet_with_it_is_dropped(length: int) -> None:
    assert parse_packet(init_packet(parameter(8, b"abcd")))[3][0].params == [(0x8008, b"abcd")]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="impossible length"):  # which aiortc takes for a broken packet
        parse_packet(init_packet(parameter(length) + b"\0" * 8))


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=20)), max_size=8))
def test_valid_parameters_are_read_as_before(params: list[tuple[int, bytes]]) -> None:
    assert sctp_guard.decode_params(encode_params(params)) == params


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        params = sctp_guard.decode_params(body)
    except ValueError:
        return
    assert len(params) <= len(body) // 4
