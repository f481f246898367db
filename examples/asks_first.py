"""Tools that ask first: the agent reads out what it is about to do, and only the user's own yes does it.

python examples/asks_first.py
"""

from typing import Annotated

from pydantic import Field

from localvoice import LocalVoice, ToolError, tool

CONTACTS = {"anna": "+49 30 901820", "ben": "+41 31 320 2222"}
OUTBOX: list[tuple[str, str]] = []
NOTES = ["buy milk", "call Ben"]


@tool(confirm="Shall I send “{text}” to {recipient}?")
def send_message(
    recipient: Annotated[str, Field(description="First name", max_length=40)],
    text: Annotated[str, Field(description="What to tell them", max_length=200)],
) -> str:
    """Send a text message to one of the user's contacts."""
    if recipient.lower() not in CONTACTS:
        raise ToolError(f"there is no number of {recipient}; there are: {', '.join(CONTACTS)}")
    OUTBOX.append((CONTACTS[recipient.lower()], text))
    return f"sent to {recipient}"


@tool(confirm=True)
def delete_notes() -> str:
    """Delete all of the user's notes."""
    NOTES.clear()
    return "all notes are gone"


@tool
def read_notes() -> list[str]:
    """Tell what the user has noted."""
    return NOTES  # harms nobody, so nobody is asked


def build() -> LocalVoice:
    """The agent, with two tools that ask first and one that doesn't."""
    return LocalVoice(tools=[send_message, delete_notes, read_notes])


def main() -> None:
    """Serve until Ctrl-C."""
    build().run()


if __name__ == "__main__":
    main()
