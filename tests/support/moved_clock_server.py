"""A server whose LLM sets a timer, on a clock that a test moves. Sessions in the folder that it is given."""

import asyncio
import sys

from localvoice.engines.chat import ToolCall
from localvoice.tools import ToolRegistry
from localvoice.tools.builtin import builtin_tools
from tests.support.fakes import FakeLlm, fake_engines
from tests.support.server_site import serving


async def main() -> None:
    timer = ToolCall("1", "set_timer", {"duration": "2 seconds"})
    llm = FakeLlm([timer], "It is set.", [timer], "It is set.")
    tools = {"tools": ToolRegistry(builtin_tools())}
    folder = sys.argv[1]
    async with serving(
        fake_engines(llm=llm), brought=tools, sessions_dir=folder, session_minutes=30, ping_seconds=3
    ) as site:
        print(site.url, flush=True)
        await asyncio.to_thread(sys.stdin.readline)


asyncio.run(main())
