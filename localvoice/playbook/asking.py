"""What a conversation in a playbook asks: the LLM for decisions and intents, the application's handlers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar

from localvoice.application import calls as application
from localvoice.application.calls import message_of
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.conversation.agent import Exchange
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer, ToolSpec
from localvoice.engines.types import Llm
from localvoice.playbook import conditions
from localvoice.playbook.conditions import OTHER_INTENT, REASON_LETTERS, Handler, Intent, IntentCondition
from localvoice.playbook.schema import Playbook
from localvoice.tools import Tool, ToolContext

WAIT_SECONDS: Final = 10.0  # for one handler of the application, or for the LLM to tell the intent
_INTENT_TOOL: Final = "playbook_intent"
_CERTAINTIES: Final = (0, 25, 50, 75, 100)  # percent; few, because a small model's 83 and 87 mean nothing
_INTENT_TOKENS: Final = 64  # room for the one call

Result = TypeVar("Result")


class Handlers:
    """The handlers of one conversation. None of them breaks it."""

    def __init__(self, by_name: Mapping[str, Callable[..., Any]]) -> None:
        self._by_name = by_name
        self._problems: list[VoiceError] = []

    async def call(self, handler: Handler | None, what: str, context: object) -> object:
        """What the handler returns; None if there is none, and if it fails."""
        if handler is None:
            return None
        function = self._by_name[handler] if isinstance(handler, str) else handler
        return await self.attempt(application.run(lambda: function(context)), what)

    async def attempt(self, work: Awaitable[Result], what: str) -> Result | None:
        """The work's result; None if it fails or takes too long, which is kept as a problem."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await work
        except Exception as error:
            words = message_of(error) or f"it took longer than {WAIT_SECONDS:.0f} s"
            message = f"The playbook's {what} failed: {type(error).__name__}: {words}"
            problem = VoiceError(ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK, message)
            problem.__cause__ = error
            self._problems.append(problem)
            return None

    def take_problems(self) -> Sequence[VoiceError]:
        problems, self._problems = self._problems, []
        return problems


def transition_tool(playbook: Playbook, stage_id: str) -> Tool | None:
    """The tool by which the LLM goes on from this stage; None if it may decide on no transition."""
    targets: dict[str, str] = {}
    for way in playbook.transitions_from(stage_id):
        stage = playbook.stage(way.action.target_stage)
        if stage is not None and isinstance(way.condition, conditions.LlmDecisionCondition):
            targets.setdefault(stage.id, way.description or stage.description or stage.name)
    if not targets:
        return None
    when = " ".join(f"{stage_id}: {description.rstrip('.')}." for stage_id, description in targets.items())
    schema = _object_schema(
        required=["targetStage", "reason"],
        targetStage={"type": "string", "enum": list(targets)},
        reason={"type": "string", "description": "Why, in a few words", "maxLength": REASON_LETTERS},
        data={"type": "object", "description": "What the next part needs to know"},
    )
    spec = ToolSpec(conditions.TRANSITION_TOOL, f"Go on to another part of the conversation. {when}", schema)
    return Tool(spec, _accept, "sequential")


async def _accept(arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
    """The director acts on the call itself, when all calls of the turn are made."""
    return {"accepted": True, "targetStage": arguments["targetStage"]}


async def classify(llm: Llm, wanted: Sequence[IntentCondition], exchange: Exchange) -> Intent | None:
    """Ask the LLM what the user wants. Raises the LLM's `VoiceError`."""
    described = {each.intent: each.description or each.intent.replace("_", " ") for each in wanted}
    names = [*described, OTHER_INTENT]
    schema = _object_schema(
        required=["intent", "confidence"],
        intent={"type": "string", "enum": names},
        confidence={"type": "integer", "enum": list(_CERTAINTIES), "description": "How sure, in percent"},
    )
    offer = ToolOffer((ToolSpec(_INTENT_TOOL, "Say what the user wants.", schema),), _INTENT_TOOL)
    reply = llm.reply(_question(described, exchange), Sampling(max_tokens=_INTENT_TOKENS), offer, aside=True)
    async with aclosing(reply) as items:
        async for item in items:
            if isinstance(item, ToolCall):
                name, percent = item.arguments.get("intent"), item.arguments.get("confidence")
                sure = percent if isinstance(percent, int | float) else 0
                return Intent(str(name), min(max(sure / 100, 0.0), 1.0)) if name in names else None
    return None


def _question(described: Mapping[str, str], exchange: Exchange) -> list[ChatMessage]:
    """Short, because the user waits: the intents, the agent's last sentence and the user's."""
    intents = "\n".join(f"- {name}: {description}" for name, description in described.items())
    before = [each.content for each in exchange.messages if each.role == "assistant" and each.content]
    asked = f'The assistant said: "{before[-1]}"\n' if before else ""
    return [
        ChatMessage("system", f"Tell what the user wants:\n{intents}\n- {OTHER_INTENT}: none of these"),
        ChatMessage("user", f'{asked}The user said: "{exchange.words}"'),
    ]


def _object_schema(required: Sequence[str], **properties: Mapping[str, Any]) -> dict[str, Any]:
    exact = {"required": required, "additionalProperties": False}
    return {"type": "object", "properties": properties, **exact}
