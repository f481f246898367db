"""Reading a playbook from YAML, in this package's form or in LLMRTC's."""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from localvoice.config import PlaybookForm
from localvoice.files import read_named
from localvoice.playbook.checks import unusable
from localvoice.playbook.llmrtc import translated
from localvoice.playbook.schema import Playbook

MAX_BYTES: Final = 256 * 1024
"""Of a playbook's file. A long one has 20 KiB."""


def load_playbook(path: Path, form: PlaybookForm = "localvoice") -> Playbook:
    """Read a playbook from a YAML or JSON file. It is not checked yet: `check` also needs tools and handlers.

    `form` is `llmrtc` for one that was written for LLMRTC, and means there what it says.

    Raises `VoiceError` PLAYBOOK_ERROR with one line for each field that is missing or wrong.
    """
    title = f"The playbook {path}"
    try:
        content = read_named(path, MAX_BYTES)
    except OSError as error:
        raise unusable(title, [f"it can't be read: {error.strerror}"]) from error
    try:
        parsed = yaml.load(content, _Loader)
    except yaml.YAMLError as error:
        raise unusable(title, [_in_words(error)]) from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise unusable(title, ["it is nested too deeply, or not text in UTF-8"]) from error
    except ValueError as error:  # what YAML takes for a number and Python doesn't
        raise unusable(title, [f"it has a value that can't be read: {error}"]) from error
    if not isinstance(parsed, dict):
        raise unusable(title, ["it must be a mapping with the keys id, name, stages and initial_stage"])
    return _validated(title, translated(parsed) if form == "llmrtc" else parsed)


def llmrtc_playbook(playbook: Mapping[str, Any]) -> Playbook:
    """A playbook that was written for LLMRTC, as Python has it; otherwise as `load_playbook`."""
    return _validated(f"The playbook {playbook.get('id')}", translated(playbook))


def _validated(title: str, parsed: Mapping[str, Any]) -> Playbook:
    try:
        return Playbook.model_validate(parsed)
    except ValidationError as error:
        problems = [f"{_place(each['loc'])}: {each['msg']}" for each in error.errors(include_url=False)]
        raise unusable(title, problems) from error


class _Loader(yaml.SafeLoader):
    """YAML without what goes wrong in a playbook.

    A key may stand once. There are no aliases: a few nested ones make a file of gigabytes. `yes`, `no`, `on`
    and `off` are words, because users say them, and so are dates.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias isn't allowed here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_BOOL: Final = "tag:yaml.org,2002:bool"
_NOT_GUESSED: Final = {_BOOL, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_GUESSED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def _in_words(error: yaml.YAMLError) -> str:
    """What is wrong and where; PyYAML's own text goes over several lines."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"it is not YAML: {str(error).splitlines()[0]}"
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    context = f"{error.context}: " if error.context else ""
    hint = ""
    if "alias" in f"{error.context} {error.problem}":
        hint = '; write the text again where it is needed, and a star in quotes: from: "*"'
    return f"{place}{context}{error.problem}{hint}"


def _place(loc: tuple[int | str, ...]) -> str:
    """As one would write it: stages[0].tools[1]."""
    parts = ["from" if part == "from_stage" else part for part in loc]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "the playbook"
