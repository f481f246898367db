"""JSON Schemas of tools: checked, and flattened for the small models and the grammar that read them."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

_DEFINITIONS: Final = ("$defs", "definitions")
_NAMED_SCHEMAS: Final = ("properties", "patternProperties", "dependentSchemas")
"""Keywords whose keys are names that the tool chose, not keywords."""
_PLAIN_VALUES: Final = ("default", "const", "enum", "examples", "required")
"""Keywords whose values are data, in which a key such as `title` means nothing."""
_UNREAD: Final = ("title", "discriminator")
"""Keywords that tell a model nothing, or that point to definitions that are gone."""
_ERROR_CHARACTERS: Final = 200


class _Recursive(Exception):
    """A definition contains itself, so it can't be written out."""


def flat_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an arguments' schema with its definitions written out where they are used.

    Definitions that contain themselves stay as they are. Raises ValueError, saying why, if the schema is no
    JSON Schema of an object or refers to anything outside itself.
    """
    from jsonschema import (  # here: it takes as long to import as all the rest
        Draft202012Validator,
        SchemaError,
    )

    try:
        copy = json.loads(json.dumps(schema if isinstance(schema, dict) else dict(schema), allow_nan=False))
        Draft202012Validator.check_schema(copy)
    except SchemaError as error:
        raise ValueError(
            f"the parameters are no valid JSON Schema: {error.json_path}: {error.message}"
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the parameters must be a JSON Schema written as a dict: {error}") from error
    if copy.get("type") != "object":
        raise ValueError('the parameters must be the JSON Schema of an object: {"type": "object", …}')
    definitions = {
        f"#/{keyword}/{name}": definition
        for keyword in _DEFINITIONS
        for name, definition in copy.get(keyword, {}).items()
    }
    for reference in _references(copy):
        if reference not in definitions:
            known = ", ".join(sorted(definitions)) or "nothing"
            raise ValueError(f"the parameters refer to {reference}, but define {known}")
    try:
        flattened: dict[str, Any] = _flatten(copy, definitions, ())
    except _Recursive:
        return dict(copy)
    return flattened


def schema_of(function: Callable[..., Any], model: type[BaseModel]) -> dict[str, Any]:
    """What the LLM reads of a function's arguments: short, since every prompt holds it. Raises TypeError."""
    try:
        schema = model.model_json_schema()
    except PydanticUserError as error:
        raise TypeError(f"{function.__qualname__} can't be a tool: {error}") from error
    parameters = inspect.signature(function).parameters
    for name, each in schema["properties"].items():
        default = parameters[name].default
        if default is None:
            _drop_null(each)
        elif default and type(default) in (str, int, float, bool):
            each["default"] = default  # 0, "" and False go without saying
    parts = ("type", "properties", "required", "$defs")
    return {part: schema[part] for part in parts if part in schema}


def complaint_about(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments, in words for the LLM; None if they fit."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(dict(arguments)))
    if error is None:
        return None
    place = ".".join(str(step) for step in error.absolute_path)
    words = (
        error.message if len(error.message) <= _ERROR_CHARACTERS else error.message[:_ERROR_CHARACTERS] + "…"
    )
    return f"{place}: {words}" if place else words


def _references(node: Any) -> Iterator[str]:
    """What the schema refers to. Checked first: the validator would look for a missing one in the network."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("$ref", "$dynamicRef") if isinstance(node.get(key), str))
    if isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _references(each)


def _flatten(node: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_flatten(item, definitions, inside) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        reference = node["$ref"]
        if reference in inside:
            raise _Recursive
        beside = {key: value for key, value in node.items() if key != "$ref"}
        target = definitions[reference]
        merged = {**target, **beside} if isinstance(target, dict) else target
        return _flatten(merged, definitions, (*inside, reference))
    return {
        key: _flatten_keyword(key, value, definitions, inside)
        for key, value in node.items()
        if key not in (*_UNREAD, *_DEFINITIONS)
    }


def _flatten_keyword(key: str, value: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if key in _PLAIN_VALUES:
        return value
    if key in _NAMED_SCHEMAS:
        return {name: _flatten(schema, definitions, inside) for name, schema in value.items()}
    return _flatten(value, definitions, inside)


def _drop_null(schema: dict[str, Any]) -> None:
    """Of an argument that may be left out, null says nothing more."""
    others = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(others) == 1:
        del schema["anyOf"]
        schema.update({**others[0], **schema})
    elif others:
        schema["anyOf"] = others
