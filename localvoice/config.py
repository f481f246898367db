"""Every setting with its default and its meaning, once. `localvoice settings` shows them all.

`setting_sources.py` reads them from the command line, the environment and a file.
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from localvoice.files import LocalPath

PREFIX: Final = "LOCALVOICE_"
"""Of environment variables that are settings."""

SYSTEM_PROMPT: Final = (
    "You are a friendly voice assistant. Your words are spoken aloud, so answer in one or two short, plain "
    "sentences, without lists, markup or code, unless you are asked for more."
)

_LEAST_TOKEN: Final = 16
Eagerness = Literal["patient", "balanced", "quick"]
PlaybookForm = Literal["localvoice", "llmrtc"]


class ConfigError(Exception):
    """A setting that can't be used; the message names it, what is wrong and where it came from."""


def _encodable(secret: SecretStr) -> SecretStr:
    """Refuses what isn't UTF-8 in the environment, which Python keeps as lone surrogates."""
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("it isn't written in UTF-8") from None
    return secret


def _fit_for_a_header(token: SecretStr) -> SecretStr:
    value = token.get_secret_value()
    if len(value) < _LEAST_TOKEN:
        raise ValueError(f"a token has at least {_LEAST_TOKEN} characters")
    if value != value.strip() or not value.isprintable():
        raise ValueError("a token can't hold control characters, nor begin or end with a space")
    return token


Secret = Annotated[SecretStr, AfterValidator(_encodable)]
"""The type of every setting that is a secret; no error quotes it."""
Token = Annotated[Secret, AfterValidator(_fit_for_a_header)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class ServerSettings(_Group):
    """The web server."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on: one of this machine's own; with `lan` any, and all if not given.",
    )
    port: int = Field(default=8787, ge=0, le=65535, description="Port; 0 takes any free one.")
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="Other web pages that may connect, as `http://host:port`. The own page always may.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Other names of this server, such as a reverse proxy's: `voice.example`, without a port.",
    )
    lan: bool = Field(
        default=False,
        description="Serve the network: on all addresses unless `host` names one, over TLS, with a token.",
    )
    token: Token | None = Field(
        default=None,
        description="What clients have to show; empty lets in all accounts of this machine, and with `lan` "
        "makes a new one at each start.",
    )
    tls_cert: LocalPath | None = Field(
        default=None,
        description="Certificate (PEM) for LAN mode, whose names the server answers to; empty makes one.",
    )
    tls_key: LocalPath | None = Field(default=None, description="Private key (PEM) of that certificate.")
    session_minutes: float = Field(
        default=30, gt=0, description="How long a session is kept after its last sign of life."
    )
    sessions_dir: LocalPath | None = Field(
        default=None, description="Folder where sessions survive a restart; empty keeps them in memory only."
    )
    sessions_key: Secret | None = Field(
        default=None, description="Passphrase that encrypts the sessions in that folder."
    )
    ping_seconds: float = Field(
        default=45, gt=0, description="A client that is silent for this long is let go."
    )


class ListeningSettings(_Group):
    """When the user speaks, and when they have finished."""

    speech_probability: float = Field(
        default=0.5, gt=0, lt=1, description="VAD probability from which a 32 ms window counts as speech."
    )
    onset_ms: int = Field(
        default=64, ge=32, le=1000, description="Speech this long starts a turn, or silences the agent."
    )
    interrupt_ms: int = Field(
        default=1000,
        ge=32,
        le=10_000,
        description="Speech this long over the agent's interrupts it; shorter speech does if it holds words.",
    )
    pause_ms: int = Field(
        default=32,
        ge=32,
        le=2000,
        description="Silence after which transcription starts, ahead of the turn's end.",
    )
    partial_ms: int = Field(
        default=3000,
        ge=0,
        le=10_000,
        description="Speech after which its words so far are transcribed ahead of any pause; 0 is never.",
    )
    eager: bool = Field(
        default=True, description="Begin the reply in such a pause, in silence; dropped if the user goes on."
    )
    eagerness: Eagerness = Field(
        default="balanced",
        description="How soon a pause counts as the end of the user's turn: patient, balanced or quick.",
    )
    end_ms: int = Field(
        default=512,
        ge=96,
        le=5000,
        description="Silence that ends the turn whenever turn detection has no answer.",
    )
    max_utterance_seconds: float = Field(
        default=60, gt=1, le=60, description="Longer speech is answered in parts."
    )


class AgentSettings(_Group):
    """What the agent is and how it answers."""

    system_prompt: str = Field(default=SYSTEM_PROMPT, min_length=1, description="Who the agent is.")
    history_messages: int = Field(default=8, ge=1, description="Messages of the past that the LLM is given.")
    temperature: float = Field(default=0.0, ge=0, le=2, description="0 always picks the likeliest word.")
    top_p: float = Field(default=0.95, gt=0, le=1, description="Nucleus sampling; only above temperature 0.")
    repeat_penalty: float = Field(
        default=1.1, ge=1, le=2, description="Above 1 keeps small models from repeating themselves."
    )
    max_tokens: int = Field(
        default=256, ge=1, le=4096, description="Length of one answer at most, in tokens."
    )
    context_tokens: int | None = Field(
        default=None, ge=512, description="Size of the LLM's context; empty takes the profile's."
    )
    streaming_speech: bool = Field(
        default=True, description="Speak while the LLM still writes; off speaks the whole reply at its end."
    )
    summarise: bool = Field(
        default=True, description="Between turns, sum up what is forgotten of a long conversation."
    )
    tools: bool = Field(default=True, description="Offer the built-in tools: time, timer, arithmetic, units.")
    playbook: LocalPath | None = Field(
        default=None, description="A playbook (YAML) that leads the conversation."
    )
    playbook_form: PlaybookForm = Field(
        default="localvoice", description="Whose playbook that is: localvoice or llmrtc, the cloud server's."
    )
    llm_retries: int = Field(
        default=3, ge=0, le=10, description="How often a failed request to the LLM is repeated."
    )
    fallback_profile: str | None = Field(
        default=None,
        description="Profile whose LLM takes over when this one's can't be loaded or keeps failing.",
    )


class MicrophoneSettings(_Group):
    """The sound card, for `localvoice talk`."""

    input: str | None = Field(
        default=None, description="Microphone: a part of its name; empty takes the default."
    )
    output: str | None = Field(
        default=None, description="Headphones: a part of their name; empty takes the default."
    )


class DeadlineSettings(_Group):
    """How long a stage may take before it counts as failed."""

    stt_seconds: float = Field(default=30, gt=0, description="Transcribing one utterance.")
    llm_first_token_seconds: float = Field(default=30, gt=0, description="The LLM's first token.")
    llm_seconds: float = Field(default=120, gt=0, description="The whole of one answer of the LLM.")
    tts_seconds: float = Field(default=20, gt=0, description="Making the sound of one sentence.")
    tool_seconds: float = Field(default=30, gt=0, description="Running one tool.")


class LimitSettings(_Group):
    """How much clients may ask for; past it they are answered RATE_LIMITED."""

    messages_per_second: float = Field(
        default=20, gt=0, description="Messages of one connection, on average; audio-chunks beside them."
    )
    message_burst: int = Field(default=40, ge=1, description="Messages of one connection, at once.")
    audio_chunks_per_second: float = Field(
        default=60, gt=0, description="Chunks of sound of one connection, on average; two seconds' at once."
    )
    megabytes_per_second: float = Field(
        default=4,
        gt=0,
        description="Size of one connection's messages, on average; four seconds' worth at once.",
    )
    turns_per_minute: float = Field(default=60, gt=0, description="Turns of one connection.")
    connections: int = Field(default=32, ge=1, description="Connections at a time.")
    conversations: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Connections that may converse at a time; empty is as many as this machine serves well.",
    )
    sessions_per_minute: float = Field(default=60, gt=0, description="New sessions of all clients together.")


class MonitorSettings(_Group):
    """What an operator sees of it. Nothing leaves this machine unless an address is given here."""

    metrics: Literal["none", "console", "prometheus", "opentelemetry"] = Field(
        default="none", description="Where figures go; prometheus serves them at /metrics."
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="Where opentelemetry sends figures, such as http://127.0.0.1:4318/v1/metrics.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Lines for people or JSON for machines."
    )
    log_file: LocalPath | None = Field(
        default=None, description="File that the log goes to as well; 40 MB at most."
    )
    transcripts: bool = Field(default=False, description="Whether the log may hold what was said.")
    audio_dir: LocalPath | None = Field(
        default=None, description="Folder for the sound of each turn, for debugging; empty saves none."
    )


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        frozen=True,
        defer_build=True,
        extra="forbid",
    )

    profile: str = Field(
        default="base", description="Set of models: tiny, base, quality, gpu or one of your own."
    )
    models_dir: LocalPath | None = Field(
        default=None, description="Folder of the model files; empty takes the usual one."
    )
    catalog: LocalPath | None = Field(
        default=None, description="A catalogue file of your own, added to the shipped one."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where the models run.")
    gpu_layers: Annotated[int, Field(ge=-1)] | None = Field(
        default=None,
        description="LLM layers on the GPU; empty puts all there when a GPU is used, -1 means all.",
    )
    language: str = Field(default="en", description="Language that is spoken, as ISO code, or `auto`.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is logged."
    )
    server: ServerSettings = Field(default_factory=ServerSettings)
    listening: ListeningSettings = Field(default_factory=ListeningSettings)
    agent: AgentSettings = Field(default_factory=AgentSettings)
    microphone: MicrophoneSettings = Field(default_factory=MicrophoneSettings)
    deadlines: DeadlineSettings = Field(default_factory=DeadlineSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
