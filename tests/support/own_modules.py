"""The modules of the package, as files."""

from pathlib import Path

import localvoice

PACKAGE = Path(localvoice.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
