"""YAML as playbooks use it. Loading imports this module only to read a file: PyYAML takes long to import."""

import re
from collections.abc import Hashable
from typing import Any, Final

import yaml


def parse_yaml(content: bytes) -> Any:
    """The value of a YAML or JSON document. Raises `ValueError`, which says what is wrong and where."""
    try:
        return yaml.load(content, _Loader)
    except yaml.MarkedYAMLError as error:
        raise ValueError(_in_words(error)) from error
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {str(error).splitlines()[0]}") from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise ValueError("it is nested too deeply, or not text in UTF-8") from error
    except ValueError as error:  # what YAML takes for a number and Python doesn't
        raise ValueError(f"it has a value that can't be read: {error}") from error


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
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_BOOL: Final = "tag:yaml.org,2002:bool"
_NOT_GUESSED: Final = {_BOOL, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_GUESSED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def _in_words(error: yaml.MarkedYAMLError) -> str:
    """What is wrong and where; PyYAML's own text goes over several lines."""
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    words = f"{error.context}: {error.problem}" if error.context else f"{error.problem}"
    if "alias" in words:
        words += '; write the text again where it is needed, and a star in quotes: from: "*"'
    return f"{place}{words}"
