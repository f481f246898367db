"""Which network addresses in a client's offer we would ever send to: this machine's own, no others.

An offer tells the server where to send packets. Taken as it comes, it makes the server knock wherever the
client likes, and look up mDNS names by multicast. So: candidates that aren't on this host are dropped, and a
`.local` name (Chromium's way of hiding its address until the microphone is granted) stands for this host,
whose addresses we know without asking anyone.
"""

import re
from typing import Final

import ifaddr

from localvoice.contract.errors import Component, ErrorCode, VoiceError

MAX_CANDIDATES: Final = 32
"""A host with four networks offers about twelve."""
_PREFIX: Final = "a=candidate:"
_END: Final = "a=end-of-candidates"
_CANDIDATE: Final = re.compile(
    r"a=candidate:(?P<foundation>\S+) [12] udp (?P<priority>\d{1,10}) (?P<address>\S+) (?P<port>\d{1,5}) "
    r"typ (?:host|srflx|prflx|relay)(?: .*)?",
    re.IGNORECASE | re.ASCII,
)


def host_addresses() -> frozenset[str]:
    """This machine's own IP addresses, loopback among them."""
    found = {"127.0.0.1", "::1"}
    for adapter in ifaddr.get_adapters():
        found |= {ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips}
    return frozenset(found)


def keep_own(sdp: str, own: frozenset[str]) -> str:
    """The offer with only this host's UDP candidates. Raises `VoiceError` CONNECTION_FAILED if too many."""
    lines: list[str] = []
    candidates = 0
    for line in sdp.splitlines():
        if line.startswith(_END):
            continue  # a client may reach us from an address that it didn't name, or that was dropped
        if not line.startswith(_PREFIX):
            lines.append(line)
            continue
        candidates += 1
        if candidates > MAX_CANDIDATES:
            raise VoiceError(
                ErrorCode.CONNECTION_FAILED,
                Component.WEBRTC,
                f"The offer has more than {MAX_CANDIDATES} candidates. Offer fewer networks.",
            )
        lines += _own_candidates(line, own)
    return "\r\n".join(lines) + "\r\n"


def _own_candidates(line: str, own: frozenset[str]) -> list[str]:
    found = _CANDIDATE.fullmatch(line)
    # aioice checks neither number, and a socket that is told to send to port 99999 is dead from then on.
    if found is None or not 0 < int(found["port"]) < 2**16 or int(found["priority"]) >= 2**32:
        return []
    address = found["address"]
    if not address.lower().endswith(".local"):
        return [line] if address in own else []
    before, after = line[: found.end("foundation")], line[found.end("foundation") : found.start("address")]
    return [
        # A foundation names one base address, so each copy needs one of its own.
        f"{before}{number}{after}{own_address}{line[found.end('address') :]}"
        for number, own_address in enumerate(sorted(own))
        if ":" not in own_address  # Chromium's hidden candidates are the IPv4 ones that matter on one host
    ]
