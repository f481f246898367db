"""Where things lie in this checkout."""

from pathlib import Path
from typing import Final

SUPPORT: Final = Path(__file__).resolve().parent
ROOT: Final = SUPPORT.parents[1]
MODELS: Final = ROOT / "models"
EXAMPLES_FOLDER: Final = ROOT / "examples"
SPEECH: Final = ROOT.parent / "shared" / "speech"
"""Recorded speech, where there is some next to the checkout."""
