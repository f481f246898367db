"""The hooks of the server: who is there, who speaks, and what goes wrong.

python examples/server_hooks.py
"""

from localvoice import ErrorContext, Hooks, LocalVoice, Timing


class Attendance:
    """Prints who comes, speaks and goes. Hooks may be coroutine functions as well."""

    def __init__(self) -> None:
        self.present: dict[str, str] = {}
        """The latest connection of each session."""

    async def on_connection(self, session_id: str, connection_id: str) -> None:
        """A session outlives its connection: after a reconnect, the same id may come again."""
        self.present[session_id] = connection_id
        print(f"{session_id} is here; {len(self.present)} in all")

    async def on_disconnect(self, session_id: str, timing: Timing) -> None:
        """The session can be resumed for half an hour."""
        self.present.pop(session_id, None)
        print(f"{session_id} has gone after {timing.duration_ms / 1000:.1f} s")

    def on_speech_start(self, session_id: str, timestamp: float) -> None:
        """Unix milliseconds. By now the agent has fallen silent, if it was speaking."""
        print(f"{session_id} begins to speak")

    def on_speech_end(self, session_id: str, timestamp: float, audio_duration_ms: float) -> None:
        """The turn begins with this."""
        print(f"{session_id} has spoken for {audio_duration_ms / 1000:.1f} s")

    def on_error(self, error: Exception, context: ErrorContext) -> None:
        """Everything that fails comes by here, in a session or outside of it."""
        print(f"{context.session_id or 'the server'}: {context.code} in {context.component}: {error}")

    def hooks(self) -> Hooks:
        """The five hooks of the server."""
        return Hooks(
            on_connection=self.on_connection,
            on_disconnect=self.on_disconnect,
            on_speech_start=self.on_speech_start,
            on_speech_end=self.on_speech_end,
            on_error=self.on_error,
        )


def build() -> LocalVoice:
    """The agent that tells who is there."""
    return LocalVoice(hooks=Attendance().hooks())


def main() -> None:
    """Serve until Ctrl-C."""
    build().run()


if __name__ == "__main__":
    main()
