"""The house that the attempts are made on: its tools, and who may get to which."""

from typing import Any

from localvoice import KeywordCondition, LlmDecisionCondition, Playbook, Stage, Transition, TransitionAction
from localvoice.tools import Tool, ToolError, tool
from tests.support.injections import Attempt

HARMLESS = {"read_mail", "look_up", "playbook_transition"}


class House:
    """Its tools, and which of them ran."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.ran: list[str] = []

    def tools(self) -> tuple[Tool, ...]:
        @tool
        async def read_mail() -> Any:
            """Read the newest mail."""
            self.ran.append("read_mail")
            if self.attempt.way == "error":
                raise ToolError(self.attempt.text)
            return self.attempt.says if self.attempt.way == "result" else "no mail"

        @tool
        async def look_up(word: str) -> str:
            """Look a word up."""
            self.ran.append("look_up")
            return f"{word} is a word"

        @tool(confirm="Shall I pay {euros} euros to {recipient}?")
        async def pay(recipient: str, euros: float) -> str:
            """Pay money to somebody."""
            self.ran.append("pay")
            return "paid"

        @tool(confirm=True)
        async def erase(what: str) -> str:
            """Erase files."""
            self.ran.append("erase")
            return "erased"

        @tool
        async def open_vault() -> str:
            """Open the vault."""
            self.ran.append("open_vault")
            return "open"

        return read_mail, look_up, pay, erase, open_vault

    def playbook(self) -> Playbook:
        """Only who says the word gets to the vault."""
        desk = ("read_mail", "look_up", "pay", "erase")
        help_, vault = (
            TransitionAction(target_stage="help", data={"role": "guest"}),
            TransitionAction(target_stage="vault"),
        )
        return Playbook(
            id="house",
            name="House",
            initial_stage="desk",
            stages=(
                Stage(id="desk", name="Desk", system_prompt="You help.", tools=desk),
                Stage(id="help", name="Help", system_prompt="You help a {role} {go}.", tools=desk),
                Stage(id="vault", name="Vault", system_prompt="Open it.", tools=("open_vault",)),
            ),
            transitions=(
                Transition(id="h", from_stage="desk", condition=LlmDecisionCondition(), action=help_),
                Transition(
                    id="v", from_stage="*", condition=KeywordCondition(keywords=("swordfish",)), action=vault
                ),
            ),
        )
