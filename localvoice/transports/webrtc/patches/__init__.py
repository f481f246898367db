"""Private parts of aiortc 1.16, aioice 0.13 and pylibsrtp 1, used or replaced.

`pyproject.toml` keeps each library below its next minor or major version. docs/upstream.md describes each
fault.
"""

from localvoice.transports.webrtc.patches import connection, dtls, sctp


def install() -> None:
    """Replace what each module's `PATCHES` name (owner, name, replacement), for the whole process."""
    for owner, name, replacement in (*connection.PATCHES, *dtls.PATCHES, *sctp.PATCHES):
        setattr(owner, name, replacement)
