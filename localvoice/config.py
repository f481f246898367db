"""Every setting with its default and its meaning, once. `localvoice settings` shows them all.

`setting_sources.py` reads them from the command line, the environment and a file.
"""

from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from localvoice.files import LocalPath

PREFIX: Final = "LOCALVOICE_"
"""Of environment variables that are settings."""

SYSTEM_PROMPT: Final = (
    "You are localvoice, a warm and helpful voice assistant. You are free software of the localvoice "
    "project, not a person, and no company's product. You run offline on the user's own computer, "
    "and nothing that is said leaves it. You have no internet and control no devices, so you can't "
    "look up what is new, send, call, play, switch, open or buy anything: asked for that, say so in "
    "one sentence. With all else you help as well as you can, from what you know. Your words are "
    "spoken aloud, so talk like a person: answer exactly what was asked in one or two short, plain "
    "sentences, without lists, markup or code. Say more only when asked for it, such as a story or "
    "steps."
)

SIMPLE_SYSTEM_PROMPT: Final = (
    "You are localvoice, a warm, kind and helpful voice assistant. Your words are spoken aloud, so talk "
    "like a friendly person: answer in one or two short, plain sentences. Comfort people who are sad, be "
    "glad with those who are happy, and give practical advice when they ask how to do something."
)
"""What takes its place for the smallest models: told what it can't do, they say that they can't help."""

T = TypeVar("T")

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


def _setting(default: T, description: str, **limits: Any) -> T:
    value: T = Field(default=default, description=description, **limits)
    return value


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class ServerSettings(_Group):
    """The web server."""

    host: str = _setting(
        "127.0.0.1", "Address to listen on: one of this machine's own; with `lan` any, and all if not given."
    )
    port: int = _setting(8787, "Port; 0 takes any free one.", ge=0, le=65535)
    allowed_origins: tuple[str, ...] = _setting(
        (), "Other web pages that may connect, as `http://host:port`. The own page always may."
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), "Other names of this server, such as a reverse proxy's: `voice.example`, without a port."
    )
    lan: bool = _setting(
        False, "Serve the network: on all addresses unless `host` names one, over TLS, with a token."
    )
    token: Token | None = _setting(
        None,
        "What clients have to show; empty lets in all accounts of this machine, and with `lan` makes a "
        "new one at each start.",
    )
    tls_cert: LocalPath | None = _setting(
        None, "Certificate (PEM) for LAN mode, whose names the server answers to; empty makes one."
    )
    tls_key: LocalPath | None = _setting(None, "Private key (PEM) of that certificate.")
    session_minutes: float = _setting(30, "How long a session is kept after its last sign of life.", gt=0)
    sessions_dir: LocalPath | None = _setting(
        None, "Folder where sessions survive a restart; empty keeps them in memory only."
    )
    sessions_key: Secret | None = _setting(None, "Passphrase that encrypts the sessions in that folder.")
    ping_seconds: float = _setting(45, "A client that is silent for this long is let go.", gt=0)


class ListeningSettings(_Group):
    """When the user speaks, and when they have finished."""

    speech_probability: float = _setting(
        0.5, "VAD probability from which a 32 ms window counts as speech.", gt=0, lt=1
    )
    onset_ms: int = _setting(64, "Speech this long starts a turn, or silences the agent.", ge=32, le=1000)
    interrupt_ms: int = _setting(
        1000,
        "Speech this long over the agent's interrupts it; shorter speech does if it holds words.",
        ge=32,
        le=10_000,
    )
    pause_ms: int = _setting(
        32, "Silence after which transcription starts, ahead of the turn's end.", ge=32, le=2000
    )
    partial_ms: int = _setting(
        3000,
        "Speech after which its words so far are transcribed ahead of any pause; 0 is never.",
        ge=0,
        le=10_000,
    )
    eager: bool = _setting(True, "Begin the reply in such a pause, in silence; dropped if the user goes on.")
    eagerness: Eagerness = _setting(
        "balanced", "How soon a pause counts as the end of the user's turn: patient, balanced or quick."
    )
    end_ms: int = _setting(
        512, "Silence that ends the turn whenever turn detection has no answer.", ge=96, le=5000
    )
    max_utterance_seconds: float = _setting(60, "Longer speech is answered in parts.", gt=1, le=60)


class AgentSettings(_Group):
    """What the agent is and how it answers."""

    system_prompt: str = _setting(SYSTEM_PROMPT, "Who the agent is.", min_length=1)
    history_messages: Annotated[int, Field(ge=1)] | None = _setting(
        None, "Messages of the past that the LLM is given at most; empty is as many as its context holds."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = _setting(
        None, "0 always picks the likeliest word; empty takes the model's own."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = _setting(
        None, "Nucleus sampling; only above temperature 0; empty takes the model's own."
    )
    repeat_penalty: Annotated[float, Field(ge=1, le=2)] | None = _setting(
        None, "Above 1 keeps small models from repeating themselves; empty takes the model's own."
    )
    max_tokens: int = _setting(256, "Length of one answer at most, in tokens.", ge=1, le=4096)
    context_tokens: int | None = _setting(
        None, "Size of the LLM's context; empty takes the profile's.", ge=512
    )
    streaming_speech: bool = _setting(
        True, "Speak while the LLM still writes; off speaks the whole reply at its end."
    )
    summarise: bool = _setting(True, "Keep notes of what the user told in messages that don't fit any more.")
    emergency_number: str | None = _setting(
        None, "What to call in an emergency here, such as 112; empty names 112 and 911 as examples."
    )
    tools: bool = _setting(True, "Offer the built-in tools: time, dates, timers, arithmetic, units.")
    playbook: LocalPath | None = _setting(None, "A playbook (YAML) that leads the conversation.")
    playbook_form: PlaybookForm = _setting(
        "localvoice", "Whose playbook that is: localvoice or llmrtc, the cloud server's."
    )
    llm_retries: int = _setting(3, "How often a failed request to the LLM is repeated.", ge=0, le=10)
    fallback_profile: str | None = _setting(
        None, "Profile whose LLM takes over when this one's can't be loaded or keeps failing."
    )


class PhraseSettings(_Group):
    """What is understood by rule, without the LLM. Empty: as long as the agent has no prompt of your own."""

    stop: bool | None = _setting(None, '"Stop", "never mind": silence. Also with a prompt of one\'s own.')
    repeat: bool | None = _setting(None, '"Sorry?": the last answer again. Also with a prompt of one\'s own.')
    commands: bool | None = _setting(
        None, "The sentences that tools know: the tool is called at once. Also with a prompt of one's own."
    )
    manner: bool | None = _setting(None, '"Slower", "louder": the voice is so from then on.')
    courtesies: bool | None = _setting(None, '"Thanks", "goodbye": a short answer.')
    abilities: bool | None = _setting(None, '"What can you do?": what the tools on offer can.')
    identity: bool | None = _setting(None, '"Who are you?", "is this private?": what the agent is.')
    emergencies: bool | None = _setting(
        None, "Signs of an emergency: a careful sentence with the emergency number."
    )
    limits: bool | None = _setting(
        None, 'What no tool on offer can do, such as "play music": the agent says so.'
    )


class MicrophoneSettings(_Group):
    """The sound card, for `localvoice talk`."""

    input: str | None = _setting(None, "Microphone: a part of its name; empty takes the default.")
    output: str | None = _setting(None, "Headphones: a part of their name; empty takes the default.")


class DeadlineSettings(_Group):
    """How long a stage may take before it counts as failed."""

    stt_seconds: float = _setting(30, "Transcribing one utterance.", gt=0)
    llm_first_token_seconds: float = _setting(30, "The LLM's first token.", gt=0)
    llm_seconds: float = _setting(120, "The whole of one answer of the LLM.", gt=0)
    tts_seconds: float = _setting(20, "Making the sound of one sentence.", gt=0)
    tool_seconds: float = _setting(30, "Running one tool.", gt=0)


class LimitSettings(_Group):
    """How much clients may ask for; past it they are answered RATE_LIMITED."""

    messages_per_second: float = _setting(
        20, "Messages of one connection, on average; audio-chunks not counted.", gt=0
    )
    message_burst: int = _setting(40, "Messages of one connection, at once.", ge=1)
    audio_chunks_per_second: float = _setting(
        60, "Chunks of sound of one connection, on average; two seconds' at once.", gt=0
    )
    megabytes_per_second: float = _setting(
        4, "Size of one connection's messages, on average; four seconds' worth at once.", gt=0
    )
    turns_per_minute: float = _setting(60, "Turns of one connection.", gt=0)
    connections: int = _setting(32, "Connections at a time.", ge=1)
    conversations: Annotated[int, Field(ge=1)] | None = _setting(
        None, "Connections that may converse at a time; empty is as many as this machine serves well."
    )
    sessions_per_minute: float = _setting(60, "New sessions of all clients together.", gt=0)


class MonitorSettings(_Group):
    """What an operator sees of it. Nothing leaves this machine unless an address is given here."""

    metrics: Literal["none", "console", "prometheus", "opentelemetry"] = _setting(
        "none", "Where figures go; prometheus serves them at /metrics."
    )
    otlp_endpoint: str | None = _setting(
        None, "Where opentelemetry sends figures, such as http://127.0.0.1:4318/v1/metrics."
    )
    log_format: Literal["text", "json"] = _setting("text", "Lines for people or JSON for machines.")
    log_file: LocalPath | None = _setting(None, "File that the log goes to as well; 40 MB at most.")
    transcripts: bool = _setting(False, "Whether the log may hold what was said.")
    audio_dir: LocalPath | None = _setting(
        None, "Folder for the sound of each turn, for debugging; empty saves none."
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

    profile: str = _setting(
        "auto", "Set of models: auto (the best for this machine), tiny, base, quality, gpu or your own."
    )
    llm: str | None = _setting(None, "Language model, by its catalogue name; empty takes the profile's.")
    stt: str | None = _setting(None, "Speech to text model, by its name; empty takes the profile's.")
    voice: str | None = _setting(None, "Voice, by its catalogue name; empty takes the profile's.")
    models_dir: LocalPath | None = _setting(None, "Folder of the model files; empty takes the usual one.")
    catalog: LocalPath | None = _setting(None, "A catalogue file of your own, added to the shipped one.")
    device: Literal["auto", "cpu", "cuda"] = _setting("auto", "Where the models run.")
    gpu_layers: Annotated[int, Field(ge=-1)] | None = _setting(
        None, "LLM layers on the GPU; empty puts all there when a GPU is used, -1 means all."
    )
    language: str = _setting("en", "Language that is spoken, as ISO code, or `auto`.")
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "What is logged.")
    server: ServerSettings = Field(default_factory=ServerSettings)
    listening: ListeningSettings = Field(default_factory=ListeningSettings)
    agent: AgentSettings = Field(default_factory=AgentSettings)
    phrases: PhraseSettings = Field(default_factory=PhraseSettings)
    microphone: MicrophoneSettings = Field(default_factory=MicrophoneSettings)
    deadlines: DeadlineSettings = Field(default_factory=DeadlineSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
