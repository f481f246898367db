"""Candidates: nothing that an offer says makes the server send a packet off this machine."""

import pytest
from aioice import Candidate
from hypothesis import given
from hypothesis import strategies as st

from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.transports.webrtc import addresses
from localvoice.transports.webrtc.addresses import (
    MAX_CANDIDATES,
    client_addresses,
    host_addresses,
    keep_known,
    network_addresses,
)

OWN = frozenset({"127.0.0.1", "192.168.1.5", "::1", "fe80::1"})
HEAD = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=mid:0\r\n"


def line(address: str, transport: str = "udp", port: int = 50_000, more: str = "") -> str:
    return f"a=candidate:842163049 1 {transport} 1677729535 {address} {port} typ host{more}"


def kept(*lines: str, own: frozenset[str] = OWN) -> list[Candidate]:
    sdp = keep_known(HEAD + "\r\n".join(lines) + "\r\n", own)
    assert sdp.startswith(HEAD) and sdp.endswith("\r\n"), "the rest stays as it was"
    found = [each for each in sdp.splitlines() if "candidate" in each]
    return [Candidate.from_sdp(each.removeprefix("a=candidate:")) for each in found]


@pytest.mark.parametrize("address", sorted(OWN))
def test_this_hosts_addresses_are_kept(address: str) -> None:
    (candidate,) = kept(line(address, more=" generation 0 ufrag abcd network-cost 999"))
    assert (candidate.host, candidate.port) == (address, 50_000)


@pytest.mark.parametrize(
    "refused",
    [
        line("8.8.8.8"),
        line("192.168.1.6"),
        line("2001:db8::1"),
        line("0.0.0.0"),
        line("255.255.255.255"),
        line("224.0.0.251"),
        line("evil.example"),
        line("127.0.0.1.evil.example"),
        line("local.example"),
        line("127.0.0.1", "tcp", 9, " tcptype active"),
        line("127.0.0.1", "ssltcp"),
        line("127.0.0.1", port=0),
        line("127.0.0.1", port=65_536),
        line("127.0.0.1", port=-1),
        line("127.0.0.1").replace("1677729535", "4294967296"),
        line("127.0.0.1").replace(" 1 udp", " 3 udp"),
        line("127.0.0.1").replace("typ host", "typ guest"),
        line("127.0.0.1").replace("50000", "\u0665\u0666"),
        "a=candidate:",
        "a=candidate:1 1 udp",
    ],
)
def test_all_others_are_dropped(refused: str) -> None:
    assert kept(refused) == []
    assert len(kept(refused, line("127.0.0.1"), refused)) == 1


@pytest.mark.parametrize(
    "name", ["b2c7a1f0-6f4e-4f0e-9c39-0a1b2c3d4e5f.local", "PRINTER.LOCAL", "evil.example.local"]
)
def test_a_hidden_address_stands_for_this_host(name: str) -> None:
    found = kept(line(name))
    assert {candidate.host for candidate in found} == {"127.0.0.1", "192.168.1.5"}
    assert len({candidate.foundation for candidate in found}) == len(found)
    assert {candidate.port for candidate in found} == {50_000}


@pytest.mark.parametrize("separator", ["\r\n", "\n", "\x0b", "\u2028"])
def test_no_line_separator_hides_a_candidate(separator: str) -> None:
    sdp = keep_known(separator.join(["v=0", line("8.8.8.8"), "a=mid:0"]), OWN)
    assert "8.8.8.8" not in sdp


def test_too_many_are_refused() -> None:
    assert len(kept(*[line("127.0.0.1")] * MAX_CANDIDATES)) == MAX_CANDIDATES
    with pytest.raises(VoiceError, match="32") as caught:
        kept(*[line("8.8.8.8")] * (MAX_CANDIDATES + 1))
    assert caught.value.code == ErrorCode.CONNECTION_FAILED


@given(
    st.lists(st.one_of(st.text(max_size=80), st.text(max_size=60).map("a=candidate:".__add__)), max_size=30)
)
def test_whatever_comes_only_own_addresses_stay(lines: list[str]) -> None:
    for each in keep_known("\r\n".join(lines), OWN).splitlines():
        if each.startswith("a=candidate:"):
            assert each.split()[4] in OWN


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "127.0.0.5", "192.168.1.5", "fe80::1"])
def test_a_client_on_this_machine_may_have_any_of_its_addresses(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "host_addresses", lambda: OWN)
    assert client_addresses(client) == OWN


@pytest.mark.parametrize("client", ["192.168.1.77", "2001:db8::77"])
def test_a_client_on_the_network_is_sent_packets_where_its_socket_comes_from_and_nowhere_else(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "host_addresses", lambda: OWN)
    known = client_addresses(client)
    (candidate,) = kept(line(client), line("192.168.1.78"), *map(line, sorted(OWN)), own=known)
    assert candidate.host == client
    (hidden,) = kept(line("b2c7a1f0-6f4e-4f0e-9c39-0a1b2c3d4e5f.local"), own=known)
    assert (hidden.host, hidden.port) == (client, 50_000), "its hidden address is that one, too"


def test_this_host_knows_itself() -> None:
    own = host_addresses()
    assert {"127.0.0.1", "::1"} <= own
    assert not any("%" in address for address in own)
    assert set(network_addresses()) <= own - {"127.0.0.1", "::1"}
    assert not any(address.startswith(("fe80:", "169.254.")) for address in network_addresses())
