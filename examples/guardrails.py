"""Guardrails: what a hook rejects is not answered, not said, or not done.

python examples/guardrails.py
"""

import re

from localvoice import (
    Hooks,
    LlmResult,
    LocalVoice,
    Rejection,
    Timing,
    ToolCall,
    Transcript,
    TurnContext,
    tool,
)

MOST_EUROS = 100
CARD_NUMBER = re.compile(r"(?:\d[ -]?){13,16}")


def no_card_numbers(ctx: TurnContext, transcript: Transcript, timing: Timing) -> None:
    """Before the LLM sees it: the turn ends here, and history doesn't keep what was said."""
    if CARD_NUMBER.search(transcript.text):
        raise Rejection("a card number was said", say="Please don't tell me your card number.")


def no_legal_advice(ctx: TurnContext, result: LlmResult, timing: Timing) -> None:
    """When the LLM has written all: what has not been heard yet is dropped, and history keeps none of it."""
    if "sue" in result.text.lower().split():
        raise Rejection("legal advice", say="I can't advise you on that; please ask a lawyer.")


def no_links(ctx: TurnContext, text: str) -> None:
    """Before a piece of the reply is spoken: this piece is left out."""
    if "http" in text:
        raise Rejection("a link can't be spoken", say="I'll put the link on the screen.")


def small_amounts_only(ctx: TurnContext, call: ToolCall) -> None:
    """Before a tool runs: it doesn't, and the LLM is told why."""
    if call.name == "pay" and call.arguments["euros"] > MOST_EUROS:
        raise Rejection(f"more than {MOST_EUROS} euros need a person's consent", say="One moment.")


@tool(policy="sequential")
def pay(recipient: str, euros: float) -> str:
    """Pay an amount of money to somebody."""
    return f"{euros:.2f} euros were paid to {recipient}"


def build() -> LocalVoice:
    """The agent, with a guardrail at each of the four places where there may be one."""
    hooks = Hooks(
        on_stt_end=no_card_numbers,
        on_llm_end=no_legal_advice,
        on_tts_start=no_links,
        on_tool_start=small_amounts_only,
    )
    return LocalVoice(hooks=hooks, tools=[pay])


def main() -> None:
    """Serve until Ctrl-C."""
    build().run()


if __name__ == "__main__":
    main()
