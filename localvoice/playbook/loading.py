"""Reading a playbook, in this package's form or in LLMRTC's, and the tools of one written for LLMRTC.

LLMRTC's playbooks are TypeScript objects; as JSON they can be read. Where the same words mean something else
here, they are translated into what they mean there. docs/coming-from-llmrtc.md lists what still differs.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from localvoice.config import PlaybookForm
from localvoice.engines.types import ToolSpec
from localvoice.files import read_named
from localvoice.playbook.schema import Playbook, unusable
from localvoice.tools import Tool

log = logging.getLogger(__name__)

MAX_BYTES: Final = 256 * 1024
"""Of a playbook's file. A long one has 20 KiB."""
_WITHOUT_EFFECT: Final = ("maxTurns", "timeoutMs")
"""A stage's own limits: LLMRTC reads them and goes by its transitions' alone."""


def load_playbook(path: Path, form: PlaybookForm = "localvoice") -> Playbook:
    """Read a playbook from a YAML or JSON file. It is not checked yet: see `check_playbook`.

    `form` is `llmrtc` for one that was written for LLMRTC, and means there what it says.

    Raises `VoiceError` PLAYBOOK_ERROR with one line for each field that is missing or wrong.
    """
    from localvoice.playbook.yaml_text import parse_yaml

    title = f"The playbook {path}"
    try:
        content = read_named(path, MAX_BYTES)
    except OSError as error:
        raise unusable(title, [f"it can't be read: {error.strerror}"]) from error
    try:
        parsed = parse_yaml(content)
    except ValueError as error:
        raise unusable(title, [str(error)]) from error
    if not isinstance(parsed, dict):
        raise unusable(title, ["it must be a mapping with the keys id, name, stages and initial_stage"])
    return _validated(title, _translated(parsed) if form == "llmrtc" else parsed)


def llmrtc_playbook(playbook: Mapping[str, Any]) -> Playbook:
    """A playbook that was written for LLMRTC, as Python has it; otherwise as `load_playbook`."""
    return _validated(f"The playbook {playbook.get('id')}", _translated(playbook))


def llmrtc_tool(definition: Mapping[str, Any], handler: Callable[..., Any]) -> Tool:
    """The tool of one of LLMRTC's tool definitions; the handler takes the arguments and a `ToolContext`.

    Raises KeyError for a definition without name, description or parameters, ValueError as `Tool` does.
    """
    spec = ToolSpec(definition["name"], definition["description"], definition["parameters"])
    return Tool(spec, handler, definition.get("executionPolicy", "parallel"))


def _validated(title: str, parsed: Mapping[str, Any]) -> Playbook:
    try:
        return Playbook.model_validate(parsed)
    except ValidationError as error:
        problems = [f"{_place(each['loc'])}: {each['msg']}" for each in error.errors(include_url=False)]
        raise unusable(title, problems) from error


def _place(loc: tuple[int | str, ...]) -> str:
    """Where a field stands, such as stages[0].tools[1]."""
    parts = ["from" if part == "from_stage" else part for part in loc]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "the playbook"


def _translated(playbook: Mapping[str, Any]) -> dict[str, Any]:
    """An LLMRTC playbook in this package's form. The schema refuses what has a wrong shape."""
    transitions = playbook.get("transitions")
    first = 1 + max((_priority(each) for each in _mappings(transitions)), default=0)
    changed = dict(playbook)
    _change(changed, "stages", lambda stages: _each(stages, _stage))
    _change(changed, "transitions", lambda ways: _each(ways, lambda way: _transition(way, first)))
    _change(changed, "globalTools", _names)
    for key in ("defaultLLMConfig", "defaultLlmConfig"):
        _change(changed, key, lambda config: _config("the playbook", config))
    return changed


def _stage(stage: dict[str, Any]) -> dict[str, Any]:
    place = f"stage {stage.get('id')}"
    changed = {key: value for key, value in stage.items() if key not in _WITHOUT_EFFECT}
    for key in stage.keys() & set(_WITHOUT_EFFECT):
        log.info("%s: %s does nothing in LLMRTC, whose transitions have limits of their own", place, key)
    _change(changed, "tools", _names)
    _change(changed, "llmConfig", lambda config: _config(place, config))
    # Its voice server judges after the answer alone, so the stage in which a turn begins also answers.
    changed["twoPhaseExecution"] = False
    return changed


def _transition(way: dict[str, Any], first: int) -> dict[str, Any]:
    condition = way.get("condition")
    if not isinstance(condition, dict):
        return way
    if condition.get("type") == "llm_decision":
        return {**way, "priority": first}  # what the LLM decides goes before all else
    if condition.get("type") == "keyword":
        return {**way, "condition": {**condition, "inReply": True, "withinWords": True}}
    return way


def _config(place: str, config: Any) -> Any:
    if not isinstance(config, dict) or "model" not in config:
        return config
    log.warning(
        "%s: llmConfig.model is left out: the profile's language model answers in every stage (LLMRTC's "
        "playbooks don't change the model either)",
        place,
    )
    return {key: value for key, value in config.items() if key != "model"}


def _names(tools: Any) -> Any:
    """Definitions by their names: what a tool is and does is in the registry."""
    return _each(tools, lambda definition: definition.get("name", definition))


def _priority(way: Mapping[str, Any]) -> int:
    priority = way.get("priority", 0)
    return priority if isinstance(priority, int) else 0


def _mappings(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _each(values: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    if not isinstance(values, list):
        return values
    return [change(each) if isinstance(each, dict) else each for each in values]


def _change(mapping: dict[str, Any], key: str, change: Callable[[Any], Any]) -> None:
    if key in mapping:
        mapping[key] = change(mapping[key])
