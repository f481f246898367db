"""A support desk that works by voice: a playbook in YAML, and its tools in Python.

python examples/support_desk.py
"""

import itertools
from pathlib import Path
from typing import Annotated

from pydantic import Field

from localvoice import LocalVoice, Tool, ToolError, tool

PLAYBOOK = Path(__file__).with_suffix(".yaml")

# Stand for the shop's own database.
ORDERS = {
    "4217": {"item": "a kettle", "status": "on its way", "arrives": "tomorrow morning"},
    "5309": {"item": "a toaster", "status": "delivered", "arrived": "last Friday"},
}
TICKETS: dict[int, str] = {}
_ticket_numbers = itertools.count(701)


@tool
def look_up_order(
    number: Annotated[str, Field(description="The order's number, digits only")],
) -> dict[str, str]:
    """Look up an order by its number: what it is and when it arrives."""
    digits = "".join(character for character in number if character.isdigit())
    if digits not in ORDERS:
        raise ToolError(f"there is no order {digits or number}; ask the caller for the number again")
    return {"number": digits, **ORDERS[digits]}


@tool(policy="sequential")
def open_ticket(
    subject: Annotated[str, Field(description="What is wrong, in a few words", min_length=3)],
) -> dict[str, int | str]:
    """Open a ticket for a problem, so that a colleague takes care of it."""
    number = next(_ticket_numbers)
    TICKETS[number] = subject
    return {"ticket": number, "subject": subject}


TOOLS: tuple[Tool, ...] = (look_up_order, open_ticket)


def main() -> None:
    """Serve the support desk until Ctrl-C."""
    LocalVoice(playbook=PLAYBOOK, tools=TOOLS).run()


if __name__ == "__main__":
    main()
