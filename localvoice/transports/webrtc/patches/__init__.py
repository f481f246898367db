"""Private parts of aiortc 1.16, aioice 0.13 and pylibsrtp 1, used or replaced: a module for each protocol.

`pyproject.toml` keeps each library below its next minor or major version. docs/upstream.md describes each
fault.
"""

from localvoice.transports.webrtc.patches import dtls, ice, rtp, sctp


def install() -> None:
    """Replace what each module's `PATCHES` name (owner, name, replacement), for the whole process."""
    for module in (dtls, ice, rtp, sctp):
        for owner, name, replacement in module.PATCHES:
            setattr(owner, name, replacement)
