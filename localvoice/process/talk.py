"""`localvoice talk`: a conversation through the sound card, shown in the terminal."""

import asyncio
from functools import partial

from rich.console import Console
from rich.table import Table

from localvoice.audio.playout import Playout
from localvoice.config import Settings
from localvoice.contract import messages
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
    async with ready_agent(settings, console) as agent:
        conversation = Conversation("sound card", agent.direct("sound card"))
        session = Session(agent, conversation, playout, partial(_show, console))
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
        counts = str(device.inputs), str(device.outputs)
        table.add_row(str(device.number), device.name, *counts, "✓" if device.default else "")
    console.print(table)


def _show(console: Console, message: messages.ServerMessage) -> None:
    """Both sides of the conversation, line by line; what is for clients that draw is left out."""
    match message:
        case messages.TranscriptMessage(text=text):
            line = "you", text
        case messages.LlmReply(text=text):
            line = "agent", text
        case messages.ReplyHeard(text=text):
            line = "", f"(you heard: {text or 'nothing of it'})"
        case messages.TurnMetrics(voice_to_voice_ms=float(spent)):
            line = "", f"({spent:.0f} ms from your last word to its first)"
        case messages.ToolCallStart(name=name):
            line = "", f"({name} …)"
        case messages.StateMessage(state="listening"):
            line = "", "…"
        case messages.ErrorMessage(code=code, message=words):
            line = "error", f"{code}: {words}"
        case _:
            return
    who, told = line
    console.print(f"{who:>6}  {told}", markup=False, highlight=False)
