"""`localvoice talk`: a conversation through the sound card, shown in the terminal."""

import asyncio

from rich.console import Console
from rich.table import Table

from localvoice.audio.playout import Playout
from localvoice.config import Settings
from localvoice.contract.messages import (
    ErrorMessage,
    LlmReply,
    ReplyHeard,
    ServerMessage,
    StateMessage,
    ToolCallStart,
    TranscriptMessage,
    TurnMetrics,
)
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.session import Session
from localvoice.startup import ready_agent
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.soundcard.card import SoundCard
from localvoice.transports.soundcard.devices import list_devices


async def talk_on_sound_card(settings: Settings, console: Console) -> None:
    """Talk until interrupted. Raises `VoiceError` if there is no sound card to talk through."""
    inbox = FrameInbox()
    # Before the models are loaded: without a sound card they would be loaded for nothing.
    card = SoundCard(inbox, settings.microphone.input, settings.microphone.output)
    playout = Playout(card.rate)
    captions = _Captions(console)
    async with ready_agent(settings, console) as agent:
        conversation = Conversation("sound card", agent.direct("sound card"))
        session = Session(agent, conversation, playout, captions.show)
        console.print("\nTalk. Ctrl-C ends it.\n")
        listener = asyncio.create_task(session.listen(aiter(inbox)), name="listener")
        try:
            await card.run(playout)
        finally:
            listener.cancel()
            await asyncio.wait([listener])
            await session.close()
            conversation.reminders.close()


def show_devices(console: Console) -> None:
    """List what sound can come from and go to. Raises `VoiceError` without PortAudio."""
    devices = list_devices()
    if not devices:
        console.print("There is no sound device. Plug in a headset, or check the sound settings.")
        return
    table = Table("number", "name", "in", "out", "default")
    for device in devices:
        table.add_row(
            str(device.number),
            device.name,
            str(device.inputs),
            str(device.outputs),
            "✓" if device.default else "",
        )
    console.print(table)


class _Captions:
    """Both sides of the conversation, line by line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, message: ServerMessage) -> None:
        match message:
            case TranscriptMessage(text=text):
                self._line("you", text)
            case LlmReply(text=text):
                self._line("agent", text)
            case ReplyHeard(text=text):
                self._line("", f"(you heard: {text or 'nothing of it'})")
            case TurnMetrics(voice_to_voice_ms=float(spent)):
                self._line("", f"({spent:.0f} ms from your last word to its first)")
            case ToolCallStart(name=name):
                self._line("", f"({name} …)")
            case StateMessage(state="listening"):
                self._line("", "…")
            case ErrorMessage(code=code, message=words):
                self._line("error", f"{code}: {words}")
            case _:
                pass  # the rest is for clients that draw

    def _line(self, who: str, text: str) -> None:
        self._console.print(f"{who:>6}  {text}", markup=False, highlight=False)
