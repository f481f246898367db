"""The public names: what `localvoice/__init__.py` imports in the form that re-exports, `import A as A`."""

import ast
from typing import Final

from tests.support.folders import ROOT

IMPORTS: Final = [
    alias
    for node in ast.parse((ROOT / "localvoice" / "__init__.py").read_text()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
]
PUBLIC: Final = [alias.asname for alias in IMPORTS if alias.asname is not None]
