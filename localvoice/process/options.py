"""Options that several commands have, and the consoles that all of them write to."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from localvoice.files import local_path
from localvoice.process.output import open_terminal

console: Final = open_terminal()
complaints: Final = open_terminal(stderr=True)


def path(typed: str) -> Path:
    """The path that a user typed; a usage error if it can't be one."""
    try:
        return local_path(typed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def path_option(*names: str, help: str) -> Any:
    """An option that takes a path; an empty one counts as not given."""
    return typer.Option(
        *names, help=help, parser=lambda typed: path(typed) if typed else None, metavar="PATH"
    )


ConfigFile = Annotated[Path | None, path_option("--config", help="A settings file (TOML).")]
Profile = Annotated[
    str | None, typer.Option(help="Set of models: auto (the default), tiny, base, quality, gpu or your own.")
]
Llm = Annotated[str | None, typer.Option(help="Another language model than the profile's, by name.")]
Stt = Annotated[str | None, typer.Option(help="Another speech to text model, by name.")]
Voice = Annotated[str | None, typer.Option(help="Another voice, by name.")]
Device = Annotated[str | None, typer.Option(help="Where the models run: auto, cpu or cuda.")]
Language = Annotated[str | None, typer.Option(help="Language that is spoken, as ISO code, or auto.")]
ModelsDir = Annotated[Path | None, path_option(help="Folder of the model files.")]
Playbook = Annotated[Path | None, path_option(help="A playbook (YAML) that leads the conversation.")]
LogLevel = Annotated[str | None, typer.Option(help="What is logged: debug, info, warning or error.")]
