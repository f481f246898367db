"""Playbooks: conversations in stages, written as YAML or built in Python.

playbook = load_playbook(Path("support_desk.yaml"))
check(playbook, registry, handlers)
"""

from localvoice.playbook.checks import check
from localvoice.playbook.llmrtc import llmrtc_tool
from localvoice.playbook.loading import llmrtc_playbook, load_playbook
from localvoice.playbook.schema import (
    ANY_STAGE,
    Condition,
    CustomCondition,
    Handler,
    IntentCondition,
    KeywordCondition,
    LlmConfig,
    LlmDecisionCondition,
    MaxTurnsCondition,
    Playbook,
    Stage,
    TimeoutCondition,
    ToolCallCondition,
    Transition,
    TransitionAction,
)

__all__ = [
    "ANY_STAGE",
    "Condition",
    "CustomCondition",
    "Handler",
    "IntentCondition",
    "KeywordCondition",
    "LlmConfig",
    "LlmDecisionCondition",
    "MaxTurnsCondition",
    "Playbook",
    "Stage",
    "TimeoutCondition",
    "ToolCallCondition",
    "Transition",
    "TransitionAction",
    "check",
    "llmrtc_playbook",
    "llmrtc_tool",
    "load_playbook",
]
