"""Voice-to-voice time and its stages, measured at a loopback client over WebRTC, against the project's goals.

Starts a real server, speaks clips into it in real time, and hears when the answer begins: from the last
voiced sample of the clip to the first audible frame at the client. A turn without an answer counts as the
time-out, and so does one that is answered before it has ended. Prints tables and writes JSON.
"""

import asyncio
from dataclasses import asdict
from pathlib import Path

from bench_cli import parser_of, write_figures
from bench_figures import Result, show
from bench_measure import Scale, measure
from bench_site import machine, recorded, spoken
from rich.console import Console


def main() -> None:
    """Run the benchmark."""
    parser = parser_of(__doc__)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--interruptions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=8, help="of two sessions that speak at the same time")
    parser.add_argument("--idle", type=float, default=20, help="seconds of silence, for the CPU they cost")
    parser.add_argument("--work", action="store_true", help="compare the CPU time of eager and patient turns")
    parser.add_argument("--quick", action="store_true", help="only the turns and the interruptions")
    parser.add_argument("--clips", type=Path, help="folder of WAV files to speak instead of made ones")
    options = parser.parse_args()
    rounds, idle = (0, 0.0) if options.quick else (options.rounds, options.idle)
    scale = Scale(options.turns, options.interruptions, rounds, idle, options.work)
    clips = recorded(options.clips) if options.clips else asyncio.run(spoken(options.profile))
    result = Result(options.profile, machine())
    asyncio.run(measure(result, clips, scale))
    show(result, Console())
    write_figures(options.out, options.profile, asdict(result))


if __name__ == "__main__":
    main()
