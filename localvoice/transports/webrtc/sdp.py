"""The part of a client's offer that aiortc gets, and the answer to the rest.

aiortc adds each `a=rtcp-fb:*` to every codec, so one offer of 64 KiB blocked the process for 25 s. That
feedback is about video, which isn't taken, and is left out. The rest has limits, far above what browsers
offer.

A section lasts as long as its connection, and a browser adds one each time that a page adds its microphone.
aiortc keeps a decoder's thread and tasks for each. So aiortc gets only the sections in use: the data channel,
where the client sends sound, and where it hears the agent. The others are answered here as resting
(`a=inactive`), because the client may use one again. When more than a few rest, those that rest longest are
rejected (port 0), and a browser puts its next section in their place (RFC 8829, section 5.2.2).
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.sdp import MediaDescription, SessionDescription

from localvoice.contract.errors import VoiceError
from localvoice.transports.webrtc.addresses import connection_failed, keep_known

MAX_SECTIONS: Final = 64
"""Those that rest or are rejected included."""
MAX_IN_USE: Final = 8
"""The stock client has three: data channel, the agent's voice, and microphone. Each costs a thread."""
MAX_RESTING: Final = 4
MAX_LINES: Final = 1_000
"""A browser's offer has 60 to 200."""
MAX_CODECS: Final = 256
"""In all sections; a browser offers some 14 for sound and 50 for video."""
_FEEDBACK: Final = "a=rtcp-fb:"
_BUNDLE: Final = "a=group:BUNDLE"
_MEDIA: Final = re.compile(r"m=(?P<kind>\S+) (?P<port>\d+) (?P<rest>.+)")
_CANDIDATES: Final = ("a=candidate:", "a=end-of-candidates")
_TRANSPORT: Final = ("a=ice-", "a=fingerprint:", "a=setup:", *_CANDIDATES)
"""Lines about the connection. The sections of a bundle share the first one's."""
_DIRECTIONS: Final = frozenset({"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"})
_COPIED: Final = ("a=mid:", "a=rtpmap:", "a=fmtp:", "a=sctp-port:", "a=rtcp-mux")
"""Lines that the answer to a section that isn't in use repeats."""


@dataclass
class MediaSection:
    """A section of an offer: its `m=` line and those that follow."""

    lines: list[str]

    @cached_property
    def kind(self) -> str:
        """`audio`, `video`, `application`, or another."""
        return self._media["kind"]

    @cached_property
    def mid(self) -> str:
        """Its name, unique within the connection; empty if there is none."""
        return next(_values(self.lines, "a=mid:"), "")

    @property
    def rejected(self) -> bool:
        return int(self._media["port"]) == 0 and "a=bundle-only" not in self.lines

    @property
    def client_sends(self) -> bool:
        return not {"a=recvonly", "a=inactive"}.intersection(self.lines)

    @property
    def client_hears(self) -> bool:
        return not {"a=sendonly", "a=inactive"}.intersection(self.lines)

    def transport(self, candidates: bool = False) -> list[str]:
        """Its lines about the connection: those about candidates, or all others."""
        lines = [line for line in self.lines if line.startswith(_TRANSPORT)]
        return [line for line in lines if line.startswith(_CANDIDATES) is candidates]

    def on(self, transport: Sequence[str]) -> list[str]:
        """The section, with another one's connection."""
        own = [line for line in self.lines if not line.startswith(_TRANSPORT)]
        # aiortc fails on a section without a direction.
        direction = [] if _DIRECTIONS.intersection(own) else ["a=sendrecv"]
        return [*own, *direction, *transport]

    def unused(self, transport: Sequence[str], port: int) -> list[str]:
        """The answer in which neither side sends; a port of 0 rejects the section."""
        copied = [line for line in self.lines if line.startswith(_COPIED)]
        head = [f"m={self.kind} {port} {self._media['rest']}", "c=IN IP4 0.0.0.0", "a=inactive"]
        return [*head, *copied, *transport]

    @cached_property
    def _media(self) -> re.Match[str]:
        found = _MEDIA.fullmatch(self.lines[0])
        if found is None:
            raise unusable(f"{self.lines[0]!r} does not begin a section")
        return found


@dataclass(frozen=True)
class SectionsInUse:
    """The sections of a connection, by mid."""

    speech: str | None = None
    """The one that carries the agent's voice."""
    channel: str | None = None
    """The data channel's."""
    resting: tuple[str, ...] = ()
    """Those that aren't in use, the one that rests longest first."""


class SdpOffer:
    """An offer that can be answered."""

    def __init__(self, sdp: str, before: SectionsInUse, known: frozenset[str] = frozenset()) -> None:
        """Candidates count at the addresses `known`.

        Raises `VoiceError` CONNECTION_FAILED for one that can't be, before aiortc gets any of it.
        """
        lines = [line for line in sdp.splitlines() if not line.startswith(_FEEDBACK)]
        _check_size(lines)
        self._session, *sections = _divided(lines)
        self.sections = [MediaSection(section) for section in sections]
        self._bundle = [mid for group in _values(self._session, _BUNDLE) for mid in group.split()]
        self._channel = before.channel  # a connection has one, and aiortc never forgets where it was
        hearing = [each.mid for each in self._live if each.kind == "audio" and each.client_hears]
        # The agent's voice stays where it is while the client receives there.
        self.speech = before.speech if before.speech in hearing else next(iter(hearing), None)
        self.in_use = self._choose()
        self._check_sections()
        self.sdp = keep_known(self._reduced(), known)
        """What aiortc gets: the sections in use, on one connection."""
        for section, media in zip(self.in_use, SessionDescription.parse(self.sdp).media, strict=True):
            _check_media(media, section.mid)
        idle = [each for each in self._live if each not in self.in_use and each.kind in ("audio", "video")]
        unused = [each.mid for each in idle]
        resting = list(dict.fromkeys(mid for mid in (*before.resting, *unused) if mid in unused))
        excess = max(0, len(resting) - MAX_RESTING)
        # The first of a bundle describes the connection of all, and so can't be rejected.
        rejected = [mid for mid in resting[:excess] if mid not in self._bundle[:1]]
        self.resting = tuple(mid for mid in resting if mid not in rejected)

    @property
    def used(self) -> SectionsInUse:
        """The connection's sections after the answer."""
        channels = [each.mid for each in self.in_use if each.kind == "application"]
        return SectionsInUse(self.speech, channels[0] if channels else self._channel, self.resting)

    def _reduced(self) -> str:
        tag = next((each for each in self._live if each.mid in self._bundle[:1]), self.in_use[0])
        sections = [each.on(tag.transport()) for each in self.in_use]
        session = self._bundled(self._session, [each.mid for each in self.in_use])
        # aiortc takes the candidates of a bundle's last section. Some clients repeat them in each.
        return _text(session, *sections, tag.transport(candidates=True))

    def answer(self, sdp: str) -> str:
        """The whole answer, from aiortc's answer to the sections in use."""
        session, *answers = _divided(sdp.splitlines())
        transport = MediaSection(answers[0]).transport()
        following = iter(answers)
        sections = [
            next(following)
            if each in self.in_use
            else each.unused(transport, 9 if each.mid in self.resting and not each.rejected else 0)
            for each in self.sections
        ]
        kept = [each.mid for each in self.sections if each in self.in_use or each.mid in self.resting]
        return _text(self._bundled(session, [mid for mid in self._bundle if mid in kept]), *sections)

    def _bundled(self, session: Sequence[str], mids: Sequence[str]) -> list[str]:
        """The lines about the session, with these sections in the bundle if there is one."""
        bundle = [f"{_BUNDLE} {' '.join(mids)}"] if self._bundle else []
        return [*(line for line in session if not line.startswith(_BUNDLE)), *bundle]

    @cached_property
    def _live(self) -> list[MediaSection]:
        return [each for each in self.sections if not each.rejected]

    def _choose(self) -> list[MediaSection]:
        channels = [each for each in self._live if each.kind == "application"]
        sounds = [each for each in self._live if each.kind == "audio"]
        chosen = channels[:1] + [each for each in sounds if each.client_sends or each.mid == self.speech]
        chosen = chosen or sounds[:1]  # without any section, there is no connection
        return [each for each in self._live if each in chosen]

    def _check_sections(self) -> None:
        """Raises if aiortc can't take the sections in use; it finds out only after changing much."""
        live = [each.mid for each in self._live]
        missing = not set(self._bundle[:1]).issubset(live)
        moved = [each for each in self.in_use if each.kind == "application" and each.mid != self._channel]
        _refuse(not self.in_use, "it offers neither sound nor a data channel")
        _refuse(len(self.in_use) > MAX_IN_USE, f"it has more than {MAX_IN_USE} sections in use")
        _refuse(len(set(live)) < len(live), "two of its sections have the same mid")
        _refuse(len(live) > 1 and not set(live).issubset(self._bundle), "its sections aren't bundled")
        _refuse(missing, "its BUNDLE group begins with a section that it doesn't have")
        _refuse(self._channel is not None and bool(moved), "its data channel has moved to another section")


def dtls_fingerprint(sdp: str) -> str:
    """The first one, which is the whole connection's; empty if there is none."""
    # No regular expression: one that strips spaces at a line's end is quadratic in them.
    return next(_values(sdp.splitlines(), "a=fingerprint:"), "")


def unusable(reason: str) -> VoiceError:
    """CONNECTION_FAILED, for an offer."""
    return connection_failed(f"The WebRTC offer can't be used ({reason[:300]}). Make a new one.")


def _refuse(wrong: bool, reason: str) -> None:
    if wrong:
        raise unusable(reason)


def _check_size(lines: Collection[str]) -> None:
    for prefix, most, what in (
        ("", MAX_LINES, "lines"),
        ("m=", MAX_SECTIONS, "sections"),
        ("a=rtpmap:", MAX_CODECS, "codecs"),
    ):
        _refuse(sum(line.startswith(prefix) for line in lines) > most, f"it has more than {most} {what}")


def _check_media(media: MediaDescription, mid: str) -> None:
    has_login = media.ice is not None and media.ice.usernameFragment and media.ice.password
    _refuse(media.rtp.muxId != mid, "a section's mid can't be read")
    _refuse(media.dtls is None or not media.dtls.fingerprints, "a section has no fingerprint")
    _refuse(not has_login, "a section has no ICE user name or password")
    if media.kind == "application":
        has_port = media.sctp_port is not None or media.profile == "DTLS/SCTP"
        _refuse(not has_port, "its data channel has no SCTP port")
    else:
        known = find_common_codecs(CODECS[media.kind], media.rtp.codecs)
        _refuse(not media.rtcp_mux, "a section of sound has no rtcp-mux")
        _refuse(not known, "a section of sound has no codec that is known here, such as Opus")


def _divided(lines: Sequence[str]) -> list[list[str]]:
    """The lines about the session, then those of each section."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            parts.append([])
        parts[-1].append(line)
    return parts


def _values(lines: Sequence[str], prefix: str) -> Iterator[str]:
    return (line.removeprefix(prefix).strip() for line in lines if line.startswith(prefix))


def _text(*parts: Sequence[str]) -> str:
    return "".join(f"{line}\r\n" for part in parts for line in part)
