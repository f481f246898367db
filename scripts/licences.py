"""The licence of each package and model that is installed to run, held against those that are agreed to.

A package's licence is what its installed metadata says: the SPDX expression, else its name for it, else its
classifier. Exit code 1: one has none, or one that is not agreed to.
"""

from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Annotated, Final

import typer
from license_expression import ExpressionError, get_spdx_licensing
from locked import Locked, locked
from rich.console import Console
from rich.table import Table

from localvoice.catalog import load_catalog, models_folder, with_llm_here

ALLOWED: Final = frozenset(
    "0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause CC0-1.0 ISC MIT MIT-0 PSF-2.0 Zlib".split()
) | {
    "MPL-2.0",  # asks for the source of its own files alone, which are published unaltered
}
ALLOWED_FOR: Final = {
    "piper-tts": "GPL-3.0-or-later",  # as the README says: it binds those who redistribute the whole
    "soxr": "LGPL-2.1-or-later",  # a module of its own, which anyone can replace
}
"""Packages with a licence that would not be agreed to in any other."""
SAID_OTHERWISE: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages call their licences without an SPDX expression."""
AS_THE_FILE_SAYS: Final = dict.fromkeys(("flexcache", "jinja2", "pint", "segno"), "BSD-3-Clause")
"""Where the metadata says only "BSD License", and the licence file says which."""
_SPDX: Final = get_spdx_licensing()  # type: ignore[no-untyped-call]


class NotInstalled(RuntimeError):
    """A package that the lock names is not here in that version, so nothing tells its licence."""


@dataclass(frozen=True)
class Licensed:
    """A package or a model, and its licence."""

    name: str
    version: str
    """Empty for a model."""
    licence: str | None
    """An SPDX expression, or None where nothing was found that could be one."""

    @property
    def agreed(self) -> bool:
        allowed = ALLOWED | {ALLOWED_FOR.get(self.name, "")}
        return self.licence is not None and _allows(_SPDX.parse(self.licence), allowed)


def installed(package: Locked) -> Distribution:
    """The package as it is installed here. Raises `NotInstalled`."""
    try:
        found = distribution(package.name)
    except PackageNotFoundError as missing:
        raise NotInstalled(f"{package.name} is not installed. Run `make install` first.") from missing
    if found.version != package.version:
        raise NotInstalled(
            f"{package.name} is installed as {found.version}, locked as {package.version}: "
            "run `make install`."
        )
    return found


def package_licence(package: Locked) -> Licensed:
    """The licence that the installed metadata names. Raises `NotInstalled`."""
    metadata = installed(package).metadata
    names = [AS_THE_FILE_SAYS.get(package.name, "")]
    for field in ("License-Expression", "License", "Classifier"):
        names += metadata.get_all(field) or []
    known = filter(None, map(_expression, names))
    return Licensed(package.name, package.version, next(known, None))


def model_licences(profile: str) -> list[Licensed]:
    catalog = load_catalog()
    models = catalog.models_of(with_llm_here(catalog, catalog.profile(profile), models_folder()))
    return [Licensed(model.name, "", _expression(model.licence)) for model in models]


def show(found: list[Licensed], console: Console) -> bool:
    """Print who has which licence; whether all are agreed to."""
    by_licence = defaultdict[str, list[Licensed]](list)
    for each in found:
        by_licence[each.licence or "none that is known"].append(each)
    table = Table("licence", "packages and models", "", title="Licences", title_justify="left")
    for licence, those in sorted(by_licence.items()):
        refused = [each.name for each in those if not each.agreed]
        verdict = f"[red]not agreed to: {', '.join(refused)}[/]" if refused else "[green]agreed[/]"
        table.add_row(licence, ", ".join(f"{each.name} {each.version}".strip() for each in those), verdict)
    console.print(table)
    return all(each.agreed for each in found)


def _expression(name: str) -> str | None:
    """The SPDX expression that a name or a classifier stands for, or None; some put the whole text there."""
    name = name.removeprefix("License :: OSI Approved :: ")
    try:
        parsed = _SPDX.parse(SAID_OTHERWISE.get(name, name), validate=True)
    except ExpressionError:
        return None
    return None if parsed is None else str(parsed.render())


def _allows(expression: object, allowed: frozenset[str]) -> bool:
    """Whether one of the choices that an expression leaves needs only these licences."""
    if isinstance(expression, _SPDX.OR):
        return any(_allows(each, allowed) for each in expression.args)
    if isinstance(expression, _SPDX.AND):
        return all(_allows(each, allowed) for each in expression.args)
    return str(expression) in allowed


def main(profile: Annotated[str, typer.Option(help="Set of models.")] = "base") -> None:
    """Show the licences of what is installed to run."""
    console = Console()
    try:
        found = [package_licence(package) for package in locked()] + model_licences(profile)
    except NotInstalled as reason:
        console.print(str(reason), style="red", markup=False)
        raise typer.Exit(1) from reason
    if not show(found, console):
        console.print(
            "Not all of these can go along: choose another package, or add the licence to "
            "scripts/licences.py with the reason why.",
            style="red",
        )
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
