"""JSON Schemas of tools: made of a function's types, checked, and flat for the models that read them.

jsonschema is imported where it is used: it takes as long to import as all the rest.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, NotRequired, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict

_DEFINITIONS: Final = ("$defs", "definitions")
_NAMED_SCHEMAS: Final = ("properties", "patternProperties", "dependentSchemas")
"""Keywords whose keys are names that the tool chose, not keywords."""
_PLAIN_VALUES: Final = ("default", "const", "enum", "examples", "required")
"""Keywords whose values are data, in which a key such as `title` means nothing."""
_UNREAD: Final = ("title", "discriminator", *_DEFINITIONS)
"""Keywords that tell a model nothing, or that point to definitions that are gone."""
_ERROR_CHARACTERS: Final = 200


class _Recursive(Exception):
    """A definition contains itself, so it can't be written out."""


def parameter_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Each parameter's type, with what `Annotated` says of it. Raises TypeError if the LLM can't give one."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"its annotations name something that isn't known there: {error}") from error
    types: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"the LLM gives arguments by name, and {parameter} can't be given so")
        if name not in hints:
            raise TypeError(f"its parameter {name} needs a type annotation")
        if isinstance(parameter.default, FieldInfo):
            raise TypeError(f"write {name}: Annotated[<type>, Field(…)] and a plain default")
        has_default = not FieldInfo.from_annotation(hints[name]).is_required()
        if has_default and parameter.default is not parameter.empty:
            raise TypeError(f"its parameter {name} has two defaults: keep the one in its type or the other")
        types[name] = hints[name]
    return types


def arguments_of(
    function: Callable[..., Any], types: Mapping[str, Any]
) -> tuple[TypeAdapter[dict[str, Any]], dict[str, Any]]:
    """What validates the arguments of these types, and their schema: short, because each prompt has it.

    What the LLM leaves out is passed on if its type has a default; otherwise the function's own holds. Raises
    TypeError or `PydanticUserError` for a type that JSON can't carry.
    """
    defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    required = [name for name in types if defaults[name] is inspect.Parameter.empty]
    fields: dict[str, Any] = {}
    for name, kind in types.items():
        named = Annotated[kind, Field(alias=name)]  # type: ignore[valid-type]  # the LLM knows no other name
        fields[name] = named if name in required else NotRequired[named]
    make: Any = TypedDict  # called by this name, mypy wants to see the fields
    arguments = make("Arguments", fields)
    arguments.__pydantic_config__ = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(arguments)
    schema = adapter.json_schema()
    for name, each in schema["properties"].items():
        default = defaults[name]
        if default is None:
            _drop_null(each)
        elif default and type(default) in (str, int, float, bool):
            each["default"] = default  # 0, "" and False go without saying
    parts = ("type", "properties", "required", "$defs")
    return adapter, {part: schema[part] for part in parts if part in schema}


def _drop_null(schema: dict[str, Any]) -> None:
    """Of an argument that may be left out, null says nothing more."""
    others = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(others) == 1:
        del schema["anyOf"]
        schema.update({**others[0], **schema})
    elif others:
        schema["anyOf"] = others


def flat_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an arguments' schema with its definitions written out where they are used.

    Definitions that contain themselves stay as they are. Raises ValueError, saying why, if the schema is no
    JSON Schema of an object or refers to anything outside itself.
    """
    from jsonschema import Draft202012Validator, SchemaError

    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(schema), allow_nan=False))
        Draft202012Validator.check_schema(copy)
    except SchemaError as error:
        where = f"{error.json_path}: {error.message}"
        raise ValueError(f"the parameters are no valid JSON Schema: {where}") from error
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
        flat: dict[str, Any] = _flat(copy, definitions)
    except _Recursive:
        return copy
    return flat


def complaint_about(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments, in words for the LLM; None if they fit."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(dict(arguments)))
    if error is None:
        return None
    place = ".".join(str(step) for step in error.absolute_path)
    words = error.message[:_ERROR_CHARACTERS] + ("…" if len(error.message) > _ERROR_CHARACTERS else "")
    return f"{place}: {words}" if place else words


def _references(node: Any) -> Iterator[str]:
    """What the schema refers to. Checked first: the validator would look for a missing one in the network."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("$ref", "$dynamicRef") if isinstance(node.get(key), str))
    if isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _references(each)


def _flat(node: Any, definitions: Mapping[str, Any], inside: tuple[str, ...] = ()) -> Any:
    if isinstance(node, list):
        return [_flat(item, definitions, inside) for item in node]
    if not isinstance(node, dict):
        return node
    if (reference := node.get("$ref")) is not None:
        if reference in inside:
            raise _Recursive
        others = {key: value for key, value in node.items() if key != "$ref"}
        target = definitions[reference]
        merged = {**target, **others} if isinstance(target, dict) else target
        return _flat(merged, definitions, (*inside, reference))
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if key in _PLAIN_VALUES:
            flat[key] = value
        elif key in _NAMED_SCHEMAS:
            flat[key] = {name: _flat(schema, definitions, inside) for name, schema in value.items()}
        elif key not in _UNREAD:
            flat[key] = _flat(value, definitions, inside)
    return flat
