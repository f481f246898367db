"""Known faults of the locked packages, by pip-audit, which passes over a package that it could not ask about.

pip-audit asks one of its services (`--service`), whatever index pip is configured for. Exit code 0: each
package was asked about, and nothing is known. 1: something is. 2: not all could be asked about.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from locked import RUNTIME_LOCKS, Locked, locked
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table

NOT_ASKED: Final = 2


class Fault(BaseModel):
    """A known vulnerability, and the versions without it."""

    id: str
    fix_versions: list[str]
    description: str = ""


class Audited(BaseModel):
    """What pip-audit says of one package; with a `skip_reason` it could not be asked about."""

    name: str
    version: str = ""
    skip_reason: str | None = None
    vulns: list[Fault] = []


class Report(BaseModel):
    """pip-audit's JSON."""

    dependencies: list[Audited]


class NoAnswer(RuntimeError):
    """pip-audit failed; the text is what it said."""


def ask(service: str) -> Report:
    """pip-audit's findings on what is locked to run. Raises `NoAnswer`."""
    tool = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or "pip-audit"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "audit.json"
        command = [tool, "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        command += ["--vulnerability-service", service, "--format", "json", "--output", str(out)]
        command += [f"--requirement={lock}" for lock in RUNTIME_LOCKS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            return Report.model_validate_json(out.read_text("utf-8"))
        except (OSError, ValidationError) as error:
            raise NoAnswer(done.stderr.strip() or f"pip-audit ended with {done.returncode}") from error


def judge(report: Report, wanted: tuple[Locked, ...], console: Console) -> int:
    """Print what is known; the exit code."""
    answered = {each.name for each in report.dependencies if each.skip_reason is None}
    faulty = [each for each in report.dependencies if each.vulns]
    if faulty:
        headings = ("package", "fault", "fixed in", "what it is")
        table = Table(*headings, title="Known faults", title_justify="left")
        for each in faulty:
            for fault in each.vulns:
                fixed = ", ".join(fault.fix_versions) or "no version yet"
                table.add_row(f"{each.name} {each.version}", fault.id, fixed, fault.description[:300])
        console.print(table)
    unasked = sorted({package.name for package in wanted} - answered)
    if unasked:
        console.print(
            f"Of {len(wanted)} packages, {len(unasked)} could not be asked about: the service that was asked "
            f"knows nothing of them ({', '.join(unasked[:5])}{' …' if len(unasked) > 5 else ''}).",
            style="red",
        )
    if faulty:
        console.print("Take versions without them: `make lock UPGRADE=1`.", style="red")
        return 1
    if unasked:
        _advise(console)
        return NOT_ASKED
    console.print(f"Of {len(wanted)} packages no fault is known.", style="green")
    return 0


def _advise(console: Console) -> None:
    console.print(
        "So nothing is shown. Ask where vulnerability data can be reached: "
        '`make audit ARGS="--service osv"` asks the OSV database (PIP_AUDIT_OSV_URL names a mirror of it); '
        "or run `make audit` on a machine with access to the public package index.",
        style="red",
        soft_wrap=True,
    )


def main(service: Annotated[str, typer.Option(help="Which one to ask: pypi, osv or esms.")] = "pypi") -> None:
    """Ask whether anything is known against what is locked to run."""
    console = Console()
    try:
        report = ask(service)
    except NoAnswer as reason:
        console.print(f"pip-audit could not ask: {reason}", style="red", markup=False, soft_wrap=True)
        _advise(console)
        raise typer.Exit(NOT_ASKED) from reason
    raise typer.Exit(judge(report, locked(), console))


if __name__ == "__main__":
    typer.run(main)
