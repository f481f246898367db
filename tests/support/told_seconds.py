"""How long an error message tells a client to wait."""

import re

from localvoice.contract.errors import VoiceError


def seconds_told(error: VoiceError) -> int:
    found = re.search(r"Try again in (\d+) s\.", error.message)
    assert found is not None
    return int(found[1])
