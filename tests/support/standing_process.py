"""The command line of `staged_process` with a VAD that holds up the event loop: `standing_process.py HOW …`.

HOW: "python" and "native" never return, the second from a native call; "slow" returns after a while. The loop
may stand still for MOST_SECONDS.
"""

import ctypes
import sys
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from localvoice.process import ending
from tests.support import fakes, staged_process

MOST_SECONDS: Final = 1.0
SLOW_SECONDS: Final = 0.7


def python() -> None:
    while True:
        time.sleep(0.01)


def native() -> None:
    while True:
        ctypes.CDLL(None).sleep(600)


def slow() -> None:
    time.sleep(SLOW_SECONDS)


HOW: Final[dict[str, Callable[[], None]]] = {"python": python, "native": native, "slow": slow}


class StandingVad(fakes.FakeVad):
    stand: Callable[[], None]

    def stream(self) -> "StandingVad":
        return self

    def __call__(self, window: npt.NDArray[np.float32]) -> float:
        type(self).stand()
        return 0.0


def main() -> None:
    StandingVad.stand = staticmethod(HOW[sys.argv.pop(1)])
    vars(fakes)["FakeVad"] = StandingVad
    vars(ending)["LOOP_SECONDS"] = MOST_SECONDS
    staged_process.main()


if __name__ == "__main__":
    main()
