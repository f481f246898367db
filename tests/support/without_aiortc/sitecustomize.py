"""On the path of a server process, this makes it a machine where aiortc isn't installed."""

import sys

sys.modules["aiortc"] = None  # type: ignore[assignment]  # documented: the import then fails
