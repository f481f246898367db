"""A live conversation without a server: frames of 20 ms in and out, as a telephone bridge would carry them.

python examples/live_frames.py call.wav heard.wav
"""

import asyncio
import sys
from pathlib import Path

import numpy as np

from localvoice import (
    AudioFrame,
    LlmReply,
    LocalVoice,
    ServerMessage,
    StateMessage,
    TranscriptMessage,
    configure_process,
    read_wav,
    wav_bytes,
)

FRAME_SECONDS = 0.02
SILENT_SECONDS = 1.0
"""Put after the caller's last word: the end of their turn is found by the silence that follows."""


async def call(caller: AudioFrame) -> AudioFrame:
    """What the caller hears, from their first word to the end of the last reply, at their own rate, mono.

    The agent finds out by itself when they have finished, and falls silent when they speak again.
    """
    state = "idle"

    def on_message(message: ServerMessage) -> None:
        nonlocal state
        match message:
            case StateMessage():
                state = message.state
            case TranscriptMessage(text=text):
                print(f"caller: {text}")
            case LlmReply(text=text):
                print(f"agent:  {text}")

    count = int(FRAME_SECONDS * caller.rate)
    padded = np.pad(caller.samples, (0, int(SILENT_SECONDS * caller.rate)))
    heard: list[AudioFrame] = []
    async with LocalVoice().live(on_message, caller.rate) as live:
        clock = asyncio.get_running_loop()
        begun = clock.time()
        while len(heard) * count < len(padded) or state != "idle":
            at = len(heard) * count
            live.hear(AudioFrame(padded[at : at + count], caller.rate))
            heard.append(live.read(count))
            await asyncio.sleep(begun + len(heard) * FRAME_SECONDS - clock.time())
    return AudioFrame(np.concatenate([frame.samples for frame in heard]), caller.rate)


def main() -> None:
    """Read the caller's side of the call, write the agent's."""
    configure_process()
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} CALL.wav HEARD.wav")
    caller, heard = map(Path, sys.argv[1:])
    heard.write_bytes(wav_bytes(asyncio.run(call(read_wav(caller)))))


if __name__ == "__main__":
    main()
