"""Network addresses: this machine's, the client's, and the candidates of an offer.

An offer tells the server where to send packets. Taken as it comes, it makes the server send wherever the
client likes, and look up mDNS names by multicast. So candidates count only at the client's own addresses, and
a `.local` name, with which browsers hide an address until the microphone is granted, stands for these. A
client on this machine has this machine's addresses; one on the network, the address that its WebSocket comes
from.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ifaddr

from localvoice.contract.errors import Component, ErrorCode, VoiceError

MAX_CANDIDATES: Final = 32
"""A host with four networks offers about twelve."""
_NAMES_CACHED: Final = 256  # the same few are checked several times for each request
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
_FIREFOX: Final = "mozilla...THIS_IS_SDPARTA"  # in the `o=` line of each of its offers
_PREFIX: Final = "a=candidate:"
_END: Final = "a=end-of-candidates"
_CANDIDATE: Final = re.compile(
    r"a=candidate:(?P<foundation>\S+) 1 udp (?P<priority>\d{1,10}) (?P<address>\S+) (?P<port>\d{1,5}) "
    r"typ (?:host|srflx|prflx|relay)(?: .*)?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class AddressPair:
    """The two ends of a client's WebSocket."""

    client: str
    """The client's address."""
    own: str
    """This machine's address that it came in by; empty if the connection is lost already."""


@lru_cache(_NAMES_CACHED)
def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_addresses() -> frozenset[str]:
    """This machine's IP addresses, with the loopback."""
    return _LOOPBACK | {*_adapter_addresses()}


def has_network() -> bool:
    """Whether an interface other than the loopback is up: WebRTC doesn't connect over the loopback alone."""
    return not _LOOPBACK.issuperset(_adapter_addresses())


def network_addresses() -> tuple[str, ...]:
    """This machine's addresses that others can use, IPv4 first, in the order of its adapters."""
    found = [ipaddress.ip_address(address) for address in _adapter_addresses()]
    usable = [each for each in found if not (each.is_loopback or each.is_link_local)]
    return tuple(dict.fromkeys(str(each) for each in sorted(usable, key=lambda each: each.version)))


def _adapter_addresses() -> list[str]:
    ips = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return [ip if isinstance(ip, str) else ip[0] for ip in ips]


def addresses_to_bind(own: str, sdp: str) -> list[str]:
    """Where to listen for a client that came in by this machine's address `own` and made this offer.

    That address; for a client on this machine the loopback, which the network doesn't reach. Chromium
    connects to the loopback from any address. Firefox doesn't: its `nr_ice_component_can_candidate_addr_pair`
    allows no pair of a loopback address and another one. So Firefox is offered this machine's other addresses
    as well.
    """
    if own and not is_loopback(own):
        return [own]
    loopback = ["::1", "127.0.0.1"] if ":" in own else ["127.0.0.1"]
    return [*loopback, *network_addresses()] if _FIREFOX in sdp else loopback


def client_addresses(client: str) -> frozenset[str]:
    """Where packets may be sent for a client whose WebSocket comes from this address."""
    own = host_addresses()
    # For a client on the network, no packet is sent to a port of this machine, either.
    return own if client in own or is_loopback(client) else frozenset({client})


def connection_failed(message: str) -> VoiceError:
    """CONNECTION_FAILED; `message` says what is wrong and what to do."""
    return VoiceError(ErrorCode.CONNECTION_FAILED, Component.WEBRTC, message)


def keep_known(sdp: str, known: frozenset[str]) -> str:
    """The offer with only UDP candidates at these addresses.

    Raises `VoiceError` CONNECTION_FAILED if there are too many candidates.
    """
    # The client may send from an address that it didn't name, or that is dropped here: so it has no end.
    lines = [line for line in sdp.splitlines() if not line.startswith(_END)]
    if sum(line.startswith(_PREFIX) for line in lines) > MAX_CANDIDATES:
        raise connection_failed(f"The offer has more than {MAX_CANDIDATES} candidates. Offer fewer networks.")
    return "".join(f"{kept}\r\n" for line in lines for kept in _kept(line, known))


def _kept(line: str, known: frozenset[str]) -> list[str]:
    if not line.startswith(_PREFIX):
        return [line]
    found = _CANDIDATE.fullmatch(line)
    # aioice checks neither number, and a socket that is told to send to port 99999 is dead from then on.
    if found is None or not 0 < int(found["port"]) < 2**16 or int(found["priority"]) >= 2**32:
        return []
    if not found["address"].lower().endswith(".local"):
        return [line] if found["address"] in known else []
    # Chromium's hidden candidates are the IPv4 ones that matter on one host.
    stands_for = [address for address in known if ":" not in address] or known
    before, after = line[: found.end("foundation")], line[found.end("foundation") : found.start("address")]
    return [
        # A foundation names one base address, so each copy needs one of its own.
        f"{before}{number}{after}{address}{line[found.end('address') :]}"
        for number, address in enumerate(sorted(stands_for))
    ]
