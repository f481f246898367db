"""Tools in a prompt, written so that small models of any chat template choose well.

With an offer, each message of the assistant begins with a line that names a tool, and `talk` is one of them.
So the choice is made at one place by one or two tokens, and never means leaving a way of writing. Examples
show it, with tools that aren't on offer: they suit every offer, and give no answer away.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from localvoice.engines.chat import (
    CALL_NOTHING,
    CALL_OR_NOTHING,
    CALL_SOMETHING,
    CHOOSE_FREELY,
    ChatMessage,
    ToolOffer,
    ToolSpec,
)

CHOICE: Final = "Tool:"
"""What each message of the assistant begins with; a space, a tool's name and a new line follow."""
MARKS: Final = ("<tool_response>", "</tool_response>")
"""Around what a tool answered. No other text may have them."""
CALL_STARTS: Final = ("{", "<", "Tool")
"""What a message of the assistant doesn't begin with when it talks."""
NEVER_SAID: Final = (f"\n{CHOICE}", "<tool_")
"""Where speech ends, since a call or a tool's answer would follow."""
_TALK: Final = "talk"
_GUIDE: Final = "Begin each answer with a tool:"
_TALK_GUIDE: Final = "Anything else: small talk, knowledge, opinions, stories, advice."
_LONGEST_TYPE: Final = 160
"""Characters. A parameter whose type takes more is described by its kind alone: each token of a prompt takes
time."""

Turn = tuple[str, str]
"""A message for a chat template: role and text."""


def _marked(result: str) -> str:
    return f"{MARKS[0]}{result}{MARKS[1]}"


_EXAMPLES: Final[tuple[tuple[str, str, str], ...]] = (
    ("Switch on the light.", "switch_light", "{}"),
    (_marked("The light is on."), "", "The light is on now."),
    ("Who painted the Mona Lisa?", "", "Leonardo da Vinci painted it."),
    (
        "How many euros are 20 dollars?",
        "convert_money",
        '{"amount": 20, "from": "dollar", "to": "euro"}',
    ),
    (_marked("20 dollars are 18.6 euros."), "", "20 dollars are 18.6 euros."),
    ("How tall is Mount Everest?", "", "Mount Everest is about 8,849 metres tall."),
    ("I love long walks.", "", "That sounds lovely. Where do you like to walk?"),
    ("Is it going to rain?", "get_weather", '{"place": "here", "day": "today"}'),
    ("How many people live on earth?", "", "About eight billion people live on earth."),
)
"""What the user says, the tool that is called ("" to talk) and the rest of the answer. Both ways to answer,
in turn. One call leaves out what isn't said; two of the calls are answered."""


def render(
    messages: Sequence[ChatMessage],
    offer: ToolOffer | None,
    words: Callable[[ChatMessage], str],
    plain: Callable[[str], str],
) -> list[Turn]:
    """The messages with tools, calls and answers in words: system, user and assistant only, no two in a row.

    With the same tools they begin alike whatever the choice. `words` gives what a message says, and `plain`
    takes out of other texts what means something to the model beyond its words.
    """
    talk = "" if offer is None else head(talk_name(offer))
    shown = messages if offer is not None else _without_settled_calls(messages)
    said = [_turn(message, words(message), talk, plain) for message in shown]
    system = [said.pop(0)[1]] if said and said[0][0] == "system" else []
    if offer is not None:
        system.append(plain(_tools(offer)))
    opening: list[Turn] = [("system", "\n\n".join(system))] if system else []
    merged = ((role, "\n".join(text for _, text in run)) for role, run in groupby(said, key=itemgetter(0)))
    return [*opening, *(() if offer is None else _examples(offer, talk)), *merged]


def _without_settled_calls(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Without the calls of earlier turns: what the assistant said then holds what they answered.

    A model that isn't told of tools would take them for a way to answer.
    """
    latest = max((index for index, each in enumerate(messages) if each.role == "user"), default=0)
    return [
        each
        for index, each in enumerate(messages)
        if index > latest or not (each.tool_calls or each.role == "tool")
    ]


def head(name: str) -> str:
    """The line that a message of the assistant begins with."""
    return f"{CHOICE} {name}\n"


def talk_name(offer: ToolOffer) -> str:
    """What stands for talking; no tool of the offer is called that."""
    name = _TALK
    while any(tool.name == name for tool in offer.tools):
        name += "_"
    return name


def choices(offer: ToolOffer) -> dict[str, ToolSpec | None]:
    """What the assistant may begin with, by name: tools, and None for talking.

    Raises `ValueError` if the offer's choice is none of its tools.
    """
    talking: dict[str, ToolSpec | None] = {talk_name(offer): None}
    calling: dict[str, ToolSpec | None] = {tool.name: tool for tool in offer.tools}
    if offer.choice == CALL_NOTHING:
        return talking
    if offer.choice in (CHOOSE_FREELY, CALL_OR_NOTHING):
        among = offer.among or calling
        return talking | {name: tool for name, tool in calling.items() if name in among}
    if offer.choice == CALL_SOMETHING and calling:
        return calling
    if offer.choice in calling:
        return {offer.choice: calling[offer.choice]}
    known = ", ".join(calling) or "there are none"
    raise ValueError(f"No tool that is offered is called {offer.choice!r}; they are: {known}.")


def answered_calls(messages: Sequence[ChatMessage]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and arguments of the calls since the user last spoke."""
    calls: list[tuple[str, Mapping[str, Any]]] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        calls += ((call.name, call.arguments) for call in message.tool_calls)
    return calls


def _tools(offer: ToolOffer) -> str:
    lines = [_GUIDE]
    for tool in offer.tools:
        description = " ".join(tool.description.split())
        lines.append(f"- {tool.name}({_parameters(tool.parameters)}): {description}")
    return "\n".join([*lines, f"- {talk_name(offer)}(): {_TALK_GUIDE}"])


def _turn(message: ChatMessage, text: str, talk: str, plain: Callable[[str], str]) -> Turn:
    if message.role == "tool":
        return "user", _marked(text)
    if message.role != "assistant":
        return message.role, text
    lines: list[str] = []
    if text or not message.tool_calls:
        lines.append(
            talk + text.replace(f"\n{CHOICE}", f" {CHOICE}")
        )  # an announcement is not the model's own
    lines += (head(plain(call.name)) + plain(_json(call.arguments)) for call in message.tool_calls)
    return "assistant", "\n".join(lines)


def _examples(offer: ToolOffer, talk: str) -> Iterator[Turn]:
    own = ((said, tool, "{}" if tool else "Okay.") for said, tool in offer.examples)
    for user, tool, text in own if offer.examples else _EXAMPLES:
        yield "user", user
        yield "assistant", (head(tool) if tool else talk) + text


def _parameters(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    properties = schema.get("properties", {})
    return ", ".join(
        f"{name}{'' if name in required else '?'}: {_described(each)}" for name, each in properties.items()
    )


def _described(schema: Any) -> str:
    kind = _type(schema)
    if len(kind) > _LONGEST_TYPE:
        kind = _kind(schema)
    description = schema.get("description") if isinstance(schema, dict) else None
    return f"{kind} ({' '.join(description.split())})" if description else kind


def _type(schema: Any) -> str:
    """The type as a model reads it best: `string`, `"red" | "blue"`, `number[]`, `{city: string}`."""
    if not isinstance(schema, dict):
        return "any"
    if "enum" in schema or "const" in schema:
        return " | ".join(map(_json, schema.get("enum", [schema.get("const")])))
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(map(_type, alternatives))
    if schema.get("type") == "array" and "items" in schema:
        inner = _type(schema["items"])
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if schema.get("type") == "object" and schema.get("properties"):
        return f"{{{_parameters(schema)}}}"
    return _kind(schema)


def _kind(schema: Any) -> str:
    kind = schema.get("type", "any") if isinstance(schema, dict) else "any"
    return kind if isinstance(kind, str) else " | ".join(kind)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
