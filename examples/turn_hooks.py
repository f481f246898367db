"""The hooks of a turn: a report of where its time went, and of what failed.

python examples/turn_hooks.py
"""

from localvoice import AudioFrame, Hooks, LlmRequest, LlmResult, LocalVoice, Timing, Transcript, TurnContext

LINES: dict[str, list[str]] = {}
"""Of each turn that is under way, by its id."""


def _turn_start(ctx: TurnContext, audio: AudioFrame | None) -> None:
    LINES[ctx.turn_id] = ["typed" if audio is None else f"{audio.seconds:.1f} s of speech"]


def _stt_start(ctx: TurnContext, audio: AudioFrame) -> None:
    _note(ctx, f"the speech is at {audio.rms_dbfs:.0f} dBFS")


def _stt_end(ctx: TurnContext, transcript: Transcript, timing: Timing) -> None:
    _note(ctx, f"{len(transcript.text.split())} words were understood in {timing.duration_ms:.0f} ms")


def _llm_start(ctx: TurnContext, request: LlmRequest) -> None:
    _note(ctx, f"{request.model} is given {len(request.messages)} messages")


def _llm_chunk(ctx: TurnContext, chunk: str, index: int) -> None:
    if index == 0:
        _note(ctx, f"its answer begins with {chunk.strip()!r}")


def _llm_end(ctx: TurnContext, result: LlmResult, timing: Timing) -> None:
    what = f"{len(result.tool_calls)} tool calls" if result.tool_calls else f"{len(result.text)} letters"
    _note(ctx, f"{what} in {timing.duration_ms:.0f} ms, the first after {timing.ttft_ms or 0:.0f} ms")


def _tts_start(ctx: TurnContext, text: str) -> None:
    _note(ctx, f"{len(text.split())} words are to be spoken")


def _tts_chunk(ctx: TurnContext, chunk: AudioFrame, index: int) -> None:
    _note(ctx, f"{chunk.seconds:.1f} s of voice")


def _tts_end(ctx: TurnContext, timing: Timing) -> None:
    _note(ctx, f"made in {timing.duration_ms:.0f} ms")


def _failed(ctx: TurnContext, error: Exception) -> None:
    _note(ctx, f"failed: {error}")


def _turn_end(ctx: TurnContext, timing: Timing) -> None:
    print(f"turn {ctx.turn_id}, {timing.duration_ms:.0f} ms:", *LINES.pop(ctx.turn_id), sep="\n  ")


def _note(ctx: TurnContext, line: str) -> None:
    LINES[ctx.turn_id].append(line)


def build() -> LocalVoice:
    """The agent, with all hooks of its turns but those of tools."""
    hooks = Hooks(
        on_turn_start=_turn_start,
        on_turn_end=_turn_end,  # of every turn that began: answered, failed or interrupted
        on_stt_start=_stt_start,
        on_stt_end=_stt_end,
        on_stt_error=_failed,
        on_llm_start=_llm_start,  # again after each round of tool calls
        on_llm_chunk=_llm_chunk,
        on_llm_end=_llm_end,
        on_llm_error=_failed,
        on_tts_start=_tts_start,  # for each piece of the reply: a clause, a sentence
        on_tts_chunk=_tts_chunk,
        on_tts_end=_tts_end,
        on_tts_error=_failed,
    )
    return LocalVoice(hooks=hooks)


def main() -> None:
    """Serve until Ctrl-C."""
    build().run()


if __name__ == "__main__":
    main()
