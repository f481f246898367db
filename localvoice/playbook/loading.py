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
from localvoice.engines.chat import ToolSpec
from localvoice.files import read_named
from localvoice.playbook.schema import Playbook, unusable
from localvoice.tools import Tool

log = logging.getLogger(__name__)

MAX_BYTES: Final = 256 * 1024  # of a playbook's file; a long one has 20 KiB
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
    """An LLMRTC playbook in this package's form. What has a wrong shape stays, and the schema refuses it."""
    ways = playbook.get("transitions")
    given = (
        [way.get("priority", 0) for way in ways if isinstance(way, dict)] if isinstance(ways, list) else []
    )
    first = 1 + max((each for each in given if isinstance(each, int)), default=0)
    return _changed(
        playbook,
        stages=lambda stages: _each(stages, _stage),
        transitions=lambda ways: _each(ways, lambda way: _transition(way, first)),
        globalTools=_names,
        defaultLLMConfig=lambda config: _config("the playbook", config),
        defaultLlmConfig=lambda config: _config("the playbook", config),
    )


def _stage(stage: dict[str, Any]) -> dict[str, Any]:
    place = f"stage {stage.get('id')}"
    for key in stage.keys() & set(_WITHOUT_EFFECT):
        log.info("%s: %s does nothing in LLMRTC, whose transitions have limits of their own", place, key)
    kept = {key: value for key, value in stage.items() if key not in _WITHOUT_EFFECT}
    changed = _changed(kept, tools=_names, llmConfig=lambda config: _config(place, config))
    # LLMRTC's voice server judges after the answer alone, so the stage in which a turn begins also answers.
    return {**changed, "twoPhaseExecution": False}


def _transition(way: dict[str, Any], first: int) -> dict[str, Any]:
    match way.get("condition"):
        case {"type": "llm_decision"}:
            return {**way, "priority": first}  # what the LLM decides goes before all else
        case {"type": "keyword", **others}:
            return {**way, "condition": {"type": "keyword", **others, "inReply": True, "withinWords": True}}
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


def _each(values: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    if not isinstance(values, list):
        return values
    return [change(each) if isinstance(each, dict) else each for each in values]


def _changed(mapping: Mapping[str, Any], **changes: Callable[[Any], Any]) -> dict[str, Any]:
    return {key: changes[key](value) if key in changes else value for key, value in mapping.items()}
