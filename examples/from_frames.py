"""A turn without a server: a WAV file is what the user says, another one gets the spoken reply.

python examples/from_frames.py question.wav reply.wav
"""

import asyncio
import sys
from pathlib import Path

from localvoice import AudioFrame, LocalVoice, VoiceError, configure_process, read_wav, wav_bytes


async def answer(speech: AudioFrame) -> AudioFrame:
    """The agent's reply, 24 kHz mono, to an utterance of any rate; prints both sides of it."""
    async with LocalVoice().dialogue() as dialogue:
        spoken = await dialogue.say(speech)
        print(f"you:   {spoken.transcript}\nagent: {spoken.reply}")
        for error in spoken.errors:
            print(f"{error.code}: {error.message}", file=sys.stderr)
        # The same conversation goes on; what is typed is answered by voice as well.
        typed = await dialogue.say("Say that again, please.")
        print(f"agent: {typed.reply}")
        return spoken.sound


def main() -> None:
    """Read one file, write the other."""
    configure_process()
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} QUESTION.wav REPLY.wav")
    question, reply = map(Path, sys.argv[1:])
    try:
        reply.write_bytes(wav_bytes(asyncio.run(answer(read_wav(question)))))
    except VoiceError as error:  # a file that is no WAV, for one: its message says what to do
        sys.exit(str(error))


if __name__ == "__main__":
    main()
