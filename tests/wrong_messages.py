"""Every client message, good, and with each of its fields wrong in every way."""

import base64
import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

import numpy as np
from fakes import loud
from tiny_png import png

from localvoice.audio.frames import wav_bytes
from localvoice.contract.client_messages import (
    MAX_ATTACHMENTS,
    MAX_MESSAGE_BYTES,
    MAX_SDP_CHARS,
    MAX_TEXT_CHARS,
)
