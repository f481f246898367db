"""A server as a user starts it, with scripted engines: run as a program, it prints its address.

What its LLM does depends on what it is told last; see `answer`.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Final

from localvoice import KeywordCondition, Playbook, Stage, Transition, TransitionAction
from localvoice.config import Settings
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.engines.llama.images import image_size
from localvoice.server.app import VoiceServer
from localvoice.server.endpoint import open_endpoint
from localvoice.tools import ToolContext, ToolError, ToolRegistry, tool
from tests.support.directors import agent_of
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, fake_engines

STORY = " ".join(f"This is sentence number {number} of a rather long story." for number in range(1, 41))
"""400 words, of which the fake voice says 16 a second."""

PLAYBOOK = Playbook(
    id="shop",
    name="Shop",
    stages=(
        Stage(id="welcome", name="Welcome", system_prompt="Welcome them."),
        Stage(id="order", name="Order", system_prompt="Take the order."),
    ),
    transitions=(
        Transition(
            id="wants",
            from_stage="welcome",
            condition=KeywordCondition(keywords=("buy",)),
            action=TransitionAction(target_stage="order"),
        ),
    ),
    initial_stage="welcome",
    global_tools=("add_numbers", "break_down"),
)


@tool
def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def break_down() -> str:
    """Fail."""
    raise ToolError("it broke down")


@tool
async def remind_me(context: ToolContext) -> str:
    """Say something a little later."""
    context.announce(1.0, "Your reminder is due.")
    return "in a second"


CALLS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("add", "add_numbers", {"a": 1, "b": 2}),
    ("break", "break_down", {}),
    ("remind", "remind_me", {}),
)
"""A word of the user's, and the tool that it calls."""


def answer(messages: Sequence[ChatMessage]) -> str | ToolCall:
    """The whole of a reply, or a call."""
    last = messages[-1]
    if last.role == "tool":
        return f"The tool says {last.content}."
    said = last.content.lower()
    calls = {
        "add": ("add_numbers", {"a": 1, "b": 2}),
        "break": ("break_down", {}),
        "remind": ("remind_me", {}),
    }
    for word, (name, arguments) in calls.items():
        if word in said:
            return ToolCall(f"call-{len(messages)}", name, arguments)
    if "story" in said:
        return STORY
    if "how many messages" in said:
        return f"I was given {len(messages) - 1} messages beside the system's."
    if "what have i heard" in said:
        return f"I said: {next(each.content for each in reversed(messages) if each.role == 'assistant')}"
    if "see" in said:
        sizes = [image_size(image.data) for image in last.images]
        return f"I see {len(sizes)}: {sizes}."
    return f"You said {last.content}"


class TalkativeLlm(FakeLlm):
    sees = True

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[str | ToolCall, None]:
        reply = answer(messages)
        if isinstance(reply, ToolCall):
            yield reply
            return
        for word in reply.split(" "):
            await asyncio.sleep(0.002)
            yield word + " "


async def serve(options: argparse.Namespace) -> None:
    conversation = {
        "summarise": False,
        "history_messages": 100,
        "streaming_speech": not options.whole_replies,
    }
    # The STT would give its lines to what is said so far.
    groups = {
        "server": {
            "port": 0,
            "lan": options.lan is not None,
            "token": options.token,
            "allowed_origins": options.origin,
        },
        "listening": {"partial_ms": 0},
        "agent": conversation,
        "limits": {"conversations": options.conversations},
    }
    settings = Settings.model_validate(groups)
    agent = agent_of(
        settings,
        # Slow enough to be cancelled where the speaker only draws breath: a line is lost otherwise.
        fake_engines(FakeStt(*options.heard, delay=0.4), TalkativeLlm(), FakeTts(delay=options.voice_delay)),
        tools=ToolRegistry([add_numbers, break_down, remind_me]),
        playbook=PLAYBOOK if options.playbook else None,
    )
    ended = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, ended.set)
    endpoint = open_endpoint(settings.server, options.lan) if options.lan else None
    async with VoiceServer(agent, endpoint).running() as address:
        print(address, flush=True)
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--playbook", action="store_true", help="lead the conversation in two stages")
    parser.add_argument("--whole-replies", action="store_true", help="speak each reply in one piece")
    parser.add_argument("--voice-delay", type=float, default=0.0, help="seconds before each piece is spoken")
    parser.add_argument("--token", help="what clients have to show")
    parser.add_argument("--lan", type=Path, help="serve the network, with a certificate that is kept here")
    parser.add_argument("--conversations", type=int, help="how many at a time; as many as like otherwise")
    parser.add_argument("--origin", action="append", default=[], help="whose pages are served, too")
    parser.add_argument("heard", nargs="*", help="what the STT hears, an utterance each")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
