"""The command line: serve, talk, turn, models, settings."""

import asyncio
import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel
from rich.table import Table

from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.catalog import CatalogError, DownloadError, ModelFilesError
from localvoice.config import ConfigError, Settings
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import TurnMetrics
from localvoice.files import NamedOutput
from localvoice.process.configure import configure_process
from localvoice.process.ending import exit_at_signal, exit_without_threads, run_until_signal
from localvoice.process.logs import set_up_logging
from localvoice.process.models_command import app as models_app
from localvoice.process.options import (
    ConfigFile,
    Device,
    Language,
    Llm,
    LogLevel,
    ModelsDir,
    Playbook,
    Profile,
    Stt,
    Voice,
    complaints,
    console,
    path,
    path_option,
)
from localvoice.process.output import UNWRITABLE, open_standard_streams, outlive_output, spell_out
from localvoice.setting_sources import load_settings, warn_of_open_secrets
from localvoice.version import __version__

if TYPE_CHECKING:
    from localvoice.transports.dialogue import Answer

app = typer.Typer(
    help="A voice agent that runs wholly on your own machine, offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command line; an expected failure is one clear sentence and exit code 1."""
    open_standard_streams()
    configure_process(offline=sys.argv[1:2] != ["models"])  # these commands may download
    faulthandler.enable()  # a crash in native code ends the process: it says where, and nothing that was said
    spell_out()
    try:
        app()
    except (ConfigError, VoiceError, CatalogError, DownloadError, ModelFilesError) as error:
        complaints.print(str(error), style="red", highlight=False)
        sys.exit(1)
    except OSError as error:
        # With a file's name it is none of standard output's.
        if error.filename is not None or error.errno not in UNWRITABLE:
            raise
        complaints.print(f"The output can't be written: {error.strerror}.", style="red")
        sys.exit(1)


@app.command()
def serve(
    config: ConfigFile = None,
    profile: Profile = None,
    llm: Llm = None,
    stt: Stt = None,
    voice: Voice = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one.")] = None,
    lan: Annotated[
        bool | None, typer.Option("--lan", help="Serve phones and others on the network, by TLS and token.")
    ] = None,
    playbook: Playbook = None,
    device: Device = None,
    language: Language = None,
    models_dir: ModelsDir = None,
    log_level: LogLevel = None,
) -> None:
    """Serve the web page, and answer all who talk to it."""
    _outlive()
    # Imported here, like the other uses of the engines: `localvoice models` needs none of them.
    from localvoice.api import LocalVoice

    server = _given(host=host, port=port, lan=lan)
    agent = _given(playbook=playbook)
    models = {"profile": profile, "llm": llm, "stt": stt, "voice": voice, "models_dir": models_dir}
    found = _settings(
        config, log_level, device=device, language=language, server=server, agent=agent, **models
    )
    LocalVoice(found, console=console).run()
    exit_without_threads()


@app.command()
def talk(
    config: ConfigFile = None,
    profile: Profile = None,
    llm: Llm = None,
    stt: Stt = None,
    voice: Voice = None,
    input: Annotated[str | None, typer.Option(help="Microphone: a part of its name, or its number.")] = None,
    output: Annotated[str | None, typer.Option(help="Headphones: a part of their name, or number.")] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Show the devices and end.")] = False,
    device: Device = None,
    language: Language = None,
    models_dir: ModelsDir = None,
    log_level: LogLevel = None,
) -> None:
    """Talk through the sound card. Wear headphones, or it hears itself."""
    if not list_devices:
        _outlive()
    # Imported here: without the sound card's library, everything else still works.
    from localvoice.process.talk import show_devices, talk_on_sound_card

    if list_devices:
        show_devices(console)
        return
    microphone = _given(input=input, output=output)
    models = {"profile": profile, "llm": llm, "stt": stt, "voice": voice, "models_dir": models_dir}
    settings = _settings(config, log_level, device=device, language=language, microphone=microphone, **models)
    run_until_signal(lambda _: talk_on_sound_card(settings, console), lambda: console.print("Ending …"))
    exit_without_threads()


@app.command()
def turn(
    speech: Annotated[Path, typer.Argument(help="What you say: a 16-bit PCM WAV file.", parser=path)],
    out: Annotated[Path | None, path_option(help="Where the spoken reply goes, as WAV.")] = None,
    config: ConfigFile = None,
    profile: Profile = None,
    llm: Llm = None,
    stt: Stt = None,
    voice: Voice = None,
    device: Device = None,
    language: Language = None,
    models_dir: ModelsDir = None,
    log_level: LogLevel = None,
) -> None:
    """Answer one WAV file: the transcript, the reply, and the time of each stage."""
    models = {"profile": profile, "llm": llm, "stt": stt, "voice": voice, "models_dir": models_dir}
    settings = _settings(config, log_level or "warning", device=device, language=language, **models)
    question = read_wav(speech)
    with nullcontext() if out is None else _opened(out) as reply:  # before the models are loaded for nothing
        answer = asyncio.run(_turn(settings, question))
        console.print(f"You said:  {answer.transcript or '(nothing that could be understood)'}")
        console.print(f"Reply:     {answer.reply}")
        if answer.metrics is not None:
            console.print(_stages(answer.metrics))
        if reply is not None and len(answer.sound.samples):
            reply.write(wav_bytes(answer.sound))
            console.print(f"The spoken reply ({answer.sound.seconds:.1f} s) is in {out}.")
    for error in answer.errors:
        complaints.print(f"{error.code}: {error.message}", style="red")
    if answer.errors:
        raise typer.Exit(1)


@app.command()
def settings(config: ConfigFile = None) -> None:
    """Show every setting, what it is now, and what it means."""
    table = Table("setting", "now", "meaning")
    for row in _rows(load_settings(config)):
        table.add_row(*row)
    console.print(table)


@app.command()
def version() -> None:
    """Show the version."""
    console.print(__version__, highlight=False)


def _outlive() -> None:
    """Set up a process that lives for long, before it loads anything."""
    outlive_output()
    exit_at_signal()


def _settings(config: Path | None, log_level: str | None, **given: Any) -> Settings:
    """The settings with what was given on the command line; and the log, as they say."""
    found = load_settings(config, log_level=log_level, **given)
    monitor = found.monitor
    set_up_logging(found.log_level, complaints, monitor.log_format, monitor.transcripts, monitor.log_file)
    warn_of_open_secrets(found)
    return found


def _given(**options: Any) -> dict[str, Any] | None:
    """The options that were given, as one group of settings."""
    return {name: value for name, value in options.items() if value is not None} or None


async def _turn(settings: Settings, speech: AudioFrame) -> "Answer":
    from localvoice.api import LocalVoice

    async with LocalVoice(settings, console=console).dialogue() as dialogue:
        return await dialogue.say(speech)


@contextmanager
def _opened(out: Path) -> Iterator[NamedOutput]:
    """Where the reply goes. Raises `ConfigError` if it can't be opened, or written in the block."""
    try:
        with NamedOutput(out) as reply:
            yield reply
    except OSError as error:
        if error.filename != str(out):
            raise
        raise ConfigError(
            f"The reply can't be written to {out}: {error.strerror}. Name another file."
        ) from error


def _stages(metrics: TurnMetrics) -> Table:
    table = Table("stage", "ms after the speech")
    for label, value in (
        ("words known", metrics.transcript_ms),
        ("end of turn certain", metrics.endpoint_ms),
        ("first word of the reply", metrics.first_token_ms),
        ("first piece of the reply", metrics.first_piece_ms),
        ("first sound", metrics.voice_to_voice_ms),
    ):
        table.add_row(label, "–" if value is None else f"{value:.0f}")
    return table


def _rows(group: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, value and meaning of every setting."""
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{name}.")
        else:
            yield f"{prefix}{name}", str(value), field.description or ""


if __name__ == "__main__":
    main()
