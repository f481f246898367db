"""Playbooks: conversations in stages, written as YAML or built in Python.

playbook = load_playbook(Path("support_desk.yaml"))
check_playbook(playbook, registry, handlers)
"""

from localvoice.playbook.checks import check_playbook
from localvoice.playbook.conditions import JudgingContext, StageContext
from localvoice.playbook.loading import llmrtc_playbook, llmrtc_tool, load_playbook
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
    "JudgingContext",
    "KeywordCondition",
    "LlmConfig",
    "LlmDecisionCondition",
    "MaxTurnsCondition",
    "Playbook",
    "Stage",
    "StageContext",
    "TimeoutCondition",
    "ToolCallCondition",
    "Transition",
    "TransitionAction",
    "check_playbook",
    "llmrtc_playbook",
    "llmrtc_tool",
    "load_playbook",
]
