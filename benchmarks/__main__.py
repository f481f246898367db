"""`python -m benchmarks COMMAND [OPTION …]` measures or proves. COMMAND --help lists its options."""

import sys
from importlib import import_module
from typing import Final

import typer

from benchmarks.programs import ProgramFailed
from localvoice import configure_process

COMMANDS: Final = {
    "latency": "voice-to-voice time and each stage, against the goals",
    "words": "wrong words and time of speech recognition, and those of faster-whisper's own way",
    "caches": "what each family of language models reads again",
    "tools": "how reliably the LLM chooses between a tool and speech",
    "mind": "how useful its answers are, on requests in 20 kinds",
    "peers": "localvoice, a plain pipeline and pipecat on the same models",
    "endings": "how soon the end of a turn is known, and how often a pause is taken for it, on people",
    "soak": "what 1,000 connections and half an hour of turns leave behind",
    "offline": "that a conversation sends nothing, with the network off and on",
    "trace": "the files, functions and hops of one spoken turn",
}

OWN_ENGINES: Final = ("words", "tools", "mind", "endings", "caches")
"""Those that load models in this process."""


def main() -> None:
    """Run the command that is named; list all without one."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        print(__doc__, *(f"  {each:12} {what}" for each, what in COMMANDS.items()), sep="\n")
        sys.exit(0 if name in ("", "-h", "--help") else f"There is no command {name!r}.")
    if name in OWN_ENGINES:
        configure_process()  # before llama.cpp is loaded: its threads would spin
    # Only this one is imported, as each loads libraries of its own.
    command = import_module(f"benchmarks.{name}")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=command.__doc__)(command.main)
    try:
        app(sys.argv[2:], prog_name=f"python -m benchmarks {name}")
    except ProgramFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
