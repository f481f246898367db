"""What the process's thread plan (localvoice/engines/threads.py) is worth on this machine.

Each engine of a profile alone, with one thread up to all cores. Then whole plans: a turn, each engine alone,
all at once beside an event loop that ticks 50 times a second, and all of it again beside a busy neighbour.
Each plan runs in a process of its own, since libraries read their environment once. Prints tables and writes
JSON.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench_cli import parser_of, progress, write_figures
from bench_site import machine
from rich.console import Console
from rich.table import Table

from localvoice.engines.threads import ThreadPlan, available_cores, plan_threads

MEASURES: Final = {
    "decode": "LLM writes, tokens/s",
    "prompt": "LLM reads, tokens/s",
    "stt": "3 s to words, ms",
    "tts": "speech, real-time factor",
}
"""Of one engine; each alone."""
TOGETHER: Final = {
    "decode": "LLM writes, tokens/s",
    "stt": "3 s to words, ms",
    "tts": "speech, real-time factor",
    "lag": "loop late, p99 ms",
}
LIBGOMP_SPINS: Final = "300000"
"""GOMP_SPINCOUNT as libgomp has it where it isn't set: about 3 ms."""
TURN: Final = {"turn": "words to first sound, ms p50"}
PLACES: Final = {"quiet": "Nothing else running", "neighbour": "Beside a busy neighbour"}
PARTS: Final = {"alone": "a turn, and each engine alone", "together": "all engines at once"}
CHILD: Final = Path(__file__).with_name("bench_threads_plan.py")


@dataclass(frozen=True)
class Plan:
    """What one process is measured with."""

    name: str
    threads: ThreadPlan
    """Of each engine."""
    libgomp_default: bool = False
    """Whether llama.cpp's threads spin where they meet for as long as libgomp likes, rather than as we do."""
    onnxruntime_default: bool = False
    """Whether Piper is opened as piper-tts does it: onnxruntime with spinning, on all cores."""


def main() -> None:
    """Run the benchmark."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=1.6, help="of each measurement")
    options = parser.parse_args()
    cores = available_cores()
    console = Console()
    profile, seconds = options.profile, options.seconds
    alone = {count: _measure(profile, plan_of(count), seconds, ()) for count in thread_counts(cores)}
    _show_alone(alone, profile, console)
    plans = {plan.name: _measure(profile, plan, seconds, tuple(PLACES)) for plan in contenders(cores)}
    _show_plans(plans, console)
    figures = {"profile": profile, "machine": machine(), "alone": alone, "plans": plans}
    write_figures(options.out, f"threads-{profile}", figures)


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4 … and all cores."""
    return sorted({*(2**power for power in range(cores.bit_length()) if 2**power < cores), cores})


def contenders(cores: int) -> list[Plan]:
    """Our plan, and those that it is measured against."""
    ours, full = plan_threads(cores, "cpu"), plan_of(cores).threads
    return [
        Plan("ours", ours),
        Plan("ours, libgomp spins as it likes", ours, libgomp_default=True),
        Plan("ours, LLM writes on all cores", replace(ours, llm_decode=cores)),
        Plan(
            "ours, prompt on a core fewer", ThreadPlan(ours.llm_decode, ours.llm_decode, ours.stt, ours.tts)
        ),
        Plan("the libraries' defaults", full, libgomp_default=True, onnxruntime_default=True),
    ]


def plan_of(threads: int) -> Plan:
    """All engines with that many threads, otherwise as ours."""
    return Plan(f"{threads} threads", ThreadPlan(threads, threads, threads, threads))


def _measure(profile: str, plan: Plan, seconds: float, places: tuple[str, ...]) -> dict[str, Any]:
    """The figures of one plan in these places, measured in a process of its own."""
    progress(f"{plan.name} …")
    job = json.dumps({"profile": profile, "plan": asdict(plan), "seconds": seconds, "places": places})
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if plan.libgomp_default:
        environment["GOMP_SPINCOUNT"] = LIBGOMP_SPINS
    done = subprocess.run([sys.executable, str(CHILD), job], stdout=subprocess.PIPE, env=environment)
    if done.returncode:
        sys.exit(f"The plan '{plan.name}' could not be measured; the reason is above.")
    progress("")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _show_alone(figures: dict[int, dict[str, Any]], profile: str, console: Console) -> None:
    table = Table("threads", *MEASURES.values(), title=f"profile {profile}: each engine alone")
    for count, row in figures.items():
        table.add_row(str(count), *(_text(row[name]) for name in MEASURES))
    console.print(table)


def _show_plans(plans: dict[str, dict[str, Any]], console: Console) -> None:
    for place, heading in PLACES.items():
        for part, labels in {"alone": TURN | MEASURES, "together": TOGETHER}.items():
            table = Table("plan", *labels.values(), title=f"{heading}: {PARTS[part]}")
            for name, row in plans.items():
                table.add_row(name, *(_text(row[place][part][measure]) for measure in labels))
            console.print(table)


def _text(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    main()
