"""What becomes of words that are understood without the LLM: what is done, and what is said."""

import secrets
from collections.abc import Iterator

from localvoice.conversation.conversation import Conversation
from localvoice.conversation.phrases.understood import Adjust, Again, Command, Say, Silence
from localvoice.conversation.speaking import Speaker
from localvoice.engines.chat import ToolCall
from localvoice.engines.types import PacedTts, Tts


def called(command: Command) -> ToolCall:
    """The call of the tool that the user has asked for."""
    return ToolCall(f"call_{secrets.token_hex(8)}", command.name, command.arguments)


def known_answer(
    understood: Silence | Again | Adjust | Say, conversation: Conversation, speaker: Speaker, voice: Tts
) -> Iterator[str]:
    """Its sentences. The manner that the user wants is taken on, from the first sentence on."""
    match understood:
        case Say(text):
            yield text
        case Again():
            yield conversation.last_answer or understood.otherwise
        case Adjust():
            yield _adjusted(understood, conversation, speaker, voice)
            if understood.again is not None and (last := conversation.last_answer):
                yield last


def _adjusted(wanted: Adjust, conversation: Conversation, speaker: Speaker, voice: Tts) -> str:
    """Speak in this manner from now on; what to say of it."""
    before = conversation.manner
    manner = before.changed(wanted.way)
    if manner.speed not in (0, before.speed) and not isinstance(voice, PacedTts):
        return wanted.unpaced
    conversation.manner = speaker.manner = manner
    return wanted.done if manner != before else wanted.at_its_end
