"""Which network addresses in a client's offer we would ever send to: this machine's own, no others.

An offer tells the server where to send packets. Taken as it comes, it makes the server knock wherever the
client likes, and look up mDNS names by multicast. So: candidates that aren't on this host are dropped, and a
`.local` name (Chromium's way of hiding its address until the microphone is granted) stands for this host,
whose addresses we know without asking anyone.
"""

from typing import Final

import ifaddr

from localvoice.contract.errors import Component, ErrorCode, VoiceError

MAX_CANDIDATES: Final = 32
"""A host with four networks offers about twelve."""
_PREFIX: Final = "a=candidate:"
_END: Final = "a=end-of-candidates"
_ADDRESS: Final = 4
_TRANSPORT: Final = 2


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
    parts = line.split()
    if len(parts) < 8 or parts[_TRANSPORT].lower() != "udp":
        return []
    if not parts[_ADDRESS].lower().endswith(".local"):
        return [line] if parts[_ADDRESS] in own else []
    foundation = parts[0]
    return [
        # A foundation names one base address, so each copy needs one of its own.
        " ".join([f"{foundation}{number}", *parts[1:_ADDRESS], address, *parts[_ADDRESS + 1 :]])
        for number, address in enumerate(sorted(own))
        if ":" not in address  # Chromium's hidden candidates are the IPv4 ones that matter on one host
    ]
