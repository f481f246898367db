"""The proof of silence can fail: strace's lines, in which something leaves this machine."""

import io
from collections.abc import Callable

import pytest
import typer
from rich.console import Console

from benchmarks import offline
from benchmarks.offline import Sighting, Turn, show
from benchmarks.system_calls import read_calls
from tests.support.loopback import NotPossible

OWN = ("192.168.7.20", "fe80::1%eth0", "2001:db8::20")


def inet(address: str, port: int) -> str:
    return f'{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("{address}")}}'


def inet6(address: str, port: int) -> str:
    return (
        f"{{sa_family=AF_INET6, sin6_port=htons({port}), sin6_flowinfo=htonl(0), "
        f'inet_pton(AF_INET6, "{address}", &sin6_addr), sin6_scope_id=0}}'
    )


SILENT = [
    "4242  socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 6",
    f"4242  bind(6, {inet('127.0.0.1', 8787)}, 16) = 0",
    f"4242  bind(9, {inet('192.168.7.20', 0)}, 16) = 0",
    f"4242  bind(9, {inet6('fe80::1', 0)}, 28) = 0",
    f'4242  sendto(9, "\\0\\1"..., 64, 0, {inet("192.168.7.20", 50001)}, 16) = 64',
    f'4242  sendto(9, "\\0\\1", 2, 0, {inet6("::ffff:127.0.0.1", 50001)}, 28) = 2',
    f'4242  sendto(9, "\\0\\1", 2, 0, {inet6("2001:db8::20", 50001)}, 28) = 2',
    '4242  sendto(7, "HTTP/1.1 200 OK"..., 900, 0, NULL, 0) = 900',
    '4242  sendto(7, "say \\"inet_addr(\\"192.0.2.1\\")\\" sin_port=htons(53)", 40, 0, NULL, 0) = 40',
    '4242  sendmsg(7, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="inet_addr(\\"192.0.2.1\\")", '
    "iov_len=4}], msg_iovlen=1, msg_controllen=0, msg_flags=0}, 0) = 4",
    "4242  socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 8",
    "4242  sendto(8, [{nlmsg_len=20, nlmsg_type=RTM_GETADDR}], 20, 0, {sa_family=AF_NETLINK}, 12) = 20",
    "4242  setsockopt(6, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0",
    '4242  setsockopt(6, SOL_IP, IP_MULTICAST_IF, inet_addr("0.0.0.0"), 4) = 0',
    "4242  <... connect resumed>)                = 0",
    "4242  --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0} ---",
    "4242  +++ exited with 0 +++",
]
LOUD = {
    "foreign address": (f"connect(5, {inet('192.0.2.7', 443)}, 16) = -1 EINPROGRESS", "192.0.2.7"),
    "foreign address, IPv6": (f"connect(5, {inet6('2001:db8::99', 443)}, 28) = 0", "2001:db8::99"),
    "refused all the same": (f"connect(5, {inet('192.0.2.7', 443)}, 16) = -1 ENETUNREACH", "192.0.2.7"),
    "unfinished": (f"connect(5, {inet('192.0.2.7', 443)}, 16 <unfinished ...>", "192.0.2.7"),
    "mapped": (f"connect(5, {inet6('::ffff:192.0.2.7', 443)}, 28) = 0", "192.0.2.7"),
    "every interface": (f"bind(5, {inet('0.0.0.0', 8787)}, 16) = 0", "0.0.0.0"),
    "every interface, IPv6": (f"bind(5, {inet6('::', 8787)}, 28) = 0", "::"),
    "datagram": (f'sendto(5, "x", 1, 0, {inet("192.0.2.7", 50000)}, 16) = 1', "192.0.2.7"),
    "message": (f"sendmsg(5, {{msg_name={inet('192.0.2.7', 50000)}, msg_namelen=16}}, 0) = 1", "192.0.2.7"),
    "messages": (
        f"sendmmsg(5, [{{msg_hdr={{msg_name={inet('192.0.2.7', 5000)}, msg_namelen=16}}}}], 1, 0) = 1",
        "192.0.2.7",
    ),
    "DNS": (f"connect(5, {inet('192.168.7.1', 53)}, 16) = 0", "DNS, port 53"),
    "DNS of this machine": (f"connect(5, {inet('127.0.0.53', 53)}, 16) = 0", "DNS, port 53"),
    "DNS over IPv6": (f'sendto(5, "\\0", 1, 0, {inet6("::1", 53)}, 28) = 1', "DNS, port 53"),
    "mDNS": (f'sendto(5, "\\0", 1, 0, {inet("224.0.0.251", 5353)}, 16) = 1', "mDNS, port 5353"),
    "mDNS, listening": (f"bind(5, {inet('127.0.0.1', 5353)}, 16) = 0", "mDNS"),
    "LLMNR": (f'sendto(5, "\\0", 1, 0, {inet6("ff02::1:3", 5355)}, 28) = 1', "LLMNR"),
    "multicast group": (
        'setsockopt(5, SOL_IP, IP_ADD_MEMBERSHIP, {imr_multiaddr=inet_addr("224.0.0.251"), '
        'imr_interface=inet_addr("0.0.0.0")}, 8) = 0',
        "multicast address, 224.0.0.251",
    ),
    "multicast group, IPv6": (
        'setsockopt(5, SOL_IPV6, IPV6_ADD_MEMBERSHIP, {inet_pton(AF_INET6, "ff02::fb", '
        "&ipv6mr_multiaddr), ipv6mr_interface=0}, 20) = 0",
        "multicast address, ff02::fb",
    ),
    "nscd": (
        'connect(5, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT',
        "/var/run/nscd/socket",
    ),
    "systemd-resolved": (
        'connect(5, {sa_family=AF_UNIX, sun_path="/run/systemd/resolve/io.systemd.Resolve"}, 42) = 0',
        "io.systemd.Resolve",
    ),
    "an abstract name": ('connect(5, {sa_family=AF_UNIX, sun_path=@"helper"}, 10) = 0', "another program"),
    "another kind of network": ("connect(5, {sa_family=AF_VSOCK, svm_cid=0x2}, 16) = 0", "AF_VSOCK"),
    "unreadable": ("connect(5, 0x7ffd5f6a1c30, 16) = -1 EFAULT (Bad address)", "could not read"),
    "raw packets": ("socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) = 5", "another kind"),
    "a raw socket": ("socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) = 5", "raw socket"),
    "a ring": ("io_uring_setup(64, {flags=0}) = 5", "unseen"),
}


def test_what_stays_on_this_machine_is_no_finding() -> None:
    calls = read_calls(SILENT, OWN)
    assert calls.findings == ()
    assert calls.count == len(SILENT) - 3
    assert calls.addresses == {
        "0.0.0.0": 1,
        "127.0.0.1": 2,
        "192.168.7.20": 2,
        "2001:db8::20": 1,
        "fe80::1": 1,
        "kernel (netlink)": 1,
    }


@pytest.mark.parametrize("line", LOUD.values(), ids=LOUD)
def test_what_leaves_it_is_found_and_shown(line: tuple[str, str]) -> None:
    call, reason = line
    calls = read_calls([*SILENT, f"4243  {call}"], OWN)
    assert {finding.line for finding in calls.findings} == {f"4243  {call}"}
    assert reason in "; ".join(finding.what for finding in calls.findings)


def sighting(*lines: str, kept: tuple[str, ...] = ()) -> Sighting:
    return Sighting(
        voice="WebRTC",
        turns=[Turn(asked="Hello.", answered="Hi.")],
        calls=read_calls([*SILENT, *lines], OWN),
        kept=list(kept),
    )


def shown(*lines: str, kept: tuple[str, ...] = ()) -> tuple[bool, str]:
    seen, text = sighting(*lines, kept=kept), io.StringIO()
    good = show({"loopback alone": seen, "this machine's": seen}, "tiny", Console(file=text, width=200))
    return good, text.getvalue()


@pytest.fixture
def prove(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[list[str]]]]:
    """Runs the program on what was seen, or on why nothing was; its exit code, and how it ran the watcher."""

    def run(seen: Sighting | Exception) -> tuple[int, list[list[str]]]:
        ran: list[list[str]] = []

        def sight(prefix: list[str], profile: str, spoken_turns: int) -> Sighting:
            ran.append(prefix)
            if isinstance(seen, Exception):
                raise seen
            return seen

        monkeypatch.setattr(offline, "sight", sight)
        monkeypatch.setattr(offline, "loopback_only", lambda: ["unshare"])
        try:
            offline.main("tiny", 1)
        except typer.Exit as ended:
            return ended.exit_code, ran
        return 0, ran

    return run


def test_the_exit_code_tells_what_was_found(prove: Callable[..., tuple[int, list[list[str]]]]) -> None:
    both = [["unshare"], []]
    assert prove(sighting()) == (0, both)
    assert prove(sighting(f"4243  connect(5, {inet('192.0.2.7', 443)}, 16) = 0")) == (1, both)
    assert prove(sighting(kept=("Microsoft",))) == (1, both)
    assert prove(offline.NotProven("it did not answer"))[0] == 1
    assert prove(NotPossible("no unshare"))[0] == offline.NOT_POSSIBLE


def test_the_verdict_follows_the_findings() -> None:
    good, text = shown()
    assert good and text.count("silent") == 2
    call = f"4243  connect(5, {inet('192.0.2.7', 443)}, 16) = 0"
    good, text = shown(call)
    assert not good and "1 found" in text and call in text
    good, text = shown(kept=("Microsoft/telemetry.db",))
    assert not good and "Microsoft/telemetry.db" in text
