"""A network of nothing but this machine: a namespace whose only interface is the loopback (Linux)."""

import os
import shutil
import subprocess
from typing import Final

_RAISE_LOOPBACK: Final = 'ip link set lo up && exec "$@"'


class NotPossible(RuntimeError):
    """This machine can't do it; the text says why, and what to do."""


def loopback_only() -> list[str]:
    """What to put before a command to have it run so. Raises `NotPossible`."""
    for tool, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if shutil.which(tool) is None:
            raise NotPossible(f"A network of its own needs `{tool}` (Debian: apt install {package}).")
    # Who isn't root is made root of the namespace alone.
    prefix = ["unshare", "-n" if os.geteuid() == 0 else "-rn", "sh", "-c", _RAISE_LOOPBACK, "sh"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise NotPossible(
            f"This system allows no network of its own ({tried.stderr.strip()}). Run it as root, or, in a "
            "container, with the right to make namespaces (SYS_ADMIN)."
        )
    return prefix
