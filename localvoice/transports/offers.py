"""What of a client's offer aiortc gets to see: it reads each line by walking through what came before.

Each `a=rtcp-fb:*` is added to every codec, so one offer of 64 KiB held up the whole process for 25 s. That
feedback is about video, which we don't take, and is left out. For the rest there are limits, far above what
browsers offer.
"""

from typing import Final

from aiortc.sdp import SessionDescription

from localvoice.contract.errors import Component, ErrorCode, VoiceError

MAX_SECTIONS: Final = 8
"""The stock client has two: sound and the data channel. Each costs sockets and tasks."""
MAX_LINES: Final = 1_000
"""A browser's offer has 60 to 200."""
MAX_CODECS: Final = 256
"""Of all sections; a browser offers some 14 for sound and 50 for video."""
_FEEDBACK: Final = "a=rtcp-fb:"


def slimmed(sdp: str) -> str:
    """The offer without what only costs. Raises `VoiceError` if it is larger than any real one."""
    lines = [line for line in sdp.splitlines() if not line.startswith(_FEEDBACK)]
    for prefix, most, what in (
        ("", MAX_LINES, "lines"),
        ("m=", MAX_SECTIONS, "sections"),
        ("a=rtpmap:", MAX_CODECS, "codecs"),
    ):
        if sum(line.startswith(prefix) for line in lines) > most:
            raise unusable(f"it has more than {most} {what}")
    return "\r\n".join(lines) + "\r\n"


def check_whole(offer: SessionDescription) -> None:
    """What aiortc would stumble over when it is too late for an error. Raises `VoiceError`."""
    if not offer.media:
        raise unusable("it offers neither sound nor a data channel")
    for section in offer.media:
        if section.dtls is None or not section.dtls.fingerprints:
            raise unusable("a section has no fingerprint")
        if section.ice is None or not (section.ice.usernameFragment and section.ice.password):
            raise unusable("a section has no ICE user name or password")
    bundles = [group.items for group in offer.group if group.semantic == "BUNDLE"]
    sections = {section.rtp.muxId for section in offer.media}
    if any(items and items[0] not in sections for items in bundles):
        raise unusable("its BUNDLE group begins with a section that it doesn't have")


def unusable(reason: str) -> VoiceError:
    """The error that answers an offer."""
    return VoiceError(
        ErrorCode.CONNECTION_FAILED,
        Component.WEBRTC,
        f"The WebRTC offer can't be used ({reason[:300]}). Make a new one.",
    )
