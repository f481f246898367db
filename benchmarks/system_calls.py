"""What a program said to the outside, read from strace's lines.

Allowed are this machine's own addresses and the kernel (netlink). A finding is: any other address, multicast
among them; the ports of name look-ups at any address; another program of this machine, which could
ask on its behalf (nscd, systemd-resolved, Avahi); and whatever these lines would not show.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

TRACED: Final = "socket,bind,connect,sendto,sendmsg,sendmmsg,setsockopt,io_uring_setup"
"""The system calls to have traced. `send` and `write` need a socket that `connect` has given an address."""
NAME_SERVICES: Final = {53: "DNS", 5353: "mDNS", 5355: "LLMNR"}

_CALL: Final = re.compile(r"(?:\d+\s+)?(\w+)\((.*)")
# A message's own bytes may look like an address.
_PAYLOAD: Final = re.compile(r'(iov_base=|^\d+, )"(?:[^"\\]|\\.)*"')
_ADDRESS: Final = re.compile(r'inet_(?:addr|pton)\((?:AF_INET6?, )?"([^"]+)"')
_PORT: Final = re.compile(r"sin6?_port=htons\((\d+)\)")
_FAMILY: Final = re.compile(r"sa_family=(\w+)")
_UNIX: Final = re.compile(r'sun_path=@?"((?:[^"\\]|\\.)*)"')
_DOMAIN: Final = re.compile(r"(\w+), (\w+)")
_KERNEL: Final = "AF_NETLINK"
_KNOWN: Final = {"AF_INET", "AF_INET6", "AF_UNIX", "AF_UNSPEC", _KERNEL}


@dataclass(frozen=True)
class Finding:
    """A system call that should not have been made."""

    what: str
    line: str
    """strace's."""


@dataclass(frozen=True)
class Calls:
    count: int
    """Of the `TRACED` system calls."""
    addresses: Mapping[str, int]
    """How often each address, or `kernel (netlink)`, was named."""
    findings: tuple[Finding, ...]
    """Empty if nothing left this machine."""


def read_calls(lines: Iterable[str], own: Iterable[str]) -> Calls:
    """Judge strace's lines; `own` are this machine's addresses other than the loopback's."""
    mine = frozenset(_ip(address) for address in own)
    count, addresses = 0, Counter[str]()
    findings: list[Finding] = []
    for line in lines:
        found = _CALL.match(line)
        if found is None:
            continue  # a signal, an exit, or the end of a call whose beginning named the address
        name, arguments = found[1], _PAYLOAD.sub(r'\1""', found[2])
        count += 1
        addresses.update(str(_ip(text)) for text in _ADDRESS.findall(arguments))
        if f"sa_family={_KERNEL}" in arguments:
            addresses["kernel (netlink)"] += 1
        findings += [Finding(what, line) for what in _faults(name, arguments, mine)]
    return Calls(count, dict(addresses), tuple(findings))


def _faults(
    name: str, arguments: str, own: frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> list[str]:
    """What is wrong with one call, in words."""
    if name == "io_uring_setup":
        return ["a ring through which it could send unseen"]
    if name == "socket":
        return _bad_socket(arguments)
    families = _FAMILY.findall(arguments)
    faults = [f"speaks {family}" for family in families if family not in _KNOWN]
    if name in ("connect", "bind") and not families:
        faults.append("an address that strace could not read")
    if name == "connect":
        faults += [f"asks another program of this machine: {path}" for path in _UNIX.findall(arguments)]
    faults += [
        f"{NAME_SERVICES[port]}, port {port}"
        for port in map(int, _PORT.findall(arguments))
        if port in NAME_SERVICES
    ]
    for address in map(_ip, _ADDRESS.findall(arguments)):
        # An option names the interface so, and means any.
        if not (address.is_loopback or address in own or (name == "setsockopt" and address.is_unspecified)):
            faults.append(f"{'a multicast' if address.is_multicast else 'a foreign'} address, {address}")
    return faults


def _bad_socket(arguments: str) -> list[str]:
    made = _DOMAIN.match(arguments)
    if made is None or made[1] not in _KNOWN:
        return [f"opens a socket of another kind: {arguments}"]
    raw = made[1] != _KERNEL and made[2] in ("SOCK_RAW", "SOCK_PACKET")
    return ["opens a raw socket"] if raw else []


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
