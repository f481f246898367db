"""How much memory this process takes, in 10^6 bytes. On Linux with glibc."""

import ctypes
import os
from pathlib import Path

_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc's <malloc.h>."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def resident_mb() -> float:
    """What is resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def anonymous_mb() -> float:
    """What is resident and in no file: the system can't drop it."""
    return _status("RssAnon")


def peak_mb() -> float:
    """The most that was ever resident."""
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def allocated_mb() -> float:
    """What native code and large arrays have allocated and not freed, without Python's small objects.

    It tells whether they lose memory, for what is free in between may be too scattered to be given back.
    """
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _MallInfo
    info = mallinfo()
    return float(info.uordblks + info.hblkhd) / 1e6
