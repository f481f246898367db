"""A GBNF grammar of a JSON Schema: what is decoded under it is JSON, and fits the schema."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

LONGEST_STRING: Final = 200
"""Characters; what a user says in a sentence."""
LONGEST_ARRAY: Final = 16
"""Items."""
_DEEPEST: Final = 12
"""Levels of a schema. Deeper, one that contains itself gets no optional parts any more."""
_COUNTED: Final = 64
"""Integers of a range that is written out number by number."""
_DESCRIBING: Final = frozenset(
    "$ref type const enum allOf anyOf oneOf properties required additionalProperties items "
    "prefixItems".split()
)
"""Keywords that say what a value is; without any of them it may be anything."""

_TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")
_BASE: Final = {
    "char": r'[^"\\\x00-\x1F\x7F] | "\\" ["\\/bnrt]',
    "digits": "[0-9]{0,14}",
    "whole": '"0" | [1-9] digits',
    "fraction": '("." [0-9]{1,6})?',
    "scalar": f'"\\"" char{{0,{LONGEST_STRING}}} "\\"" | "-"? whole fraction | "true" | "false" | "null"',
    "key": f'"\\"" char{{1,{LONGEST_STRING}}} "\\"" ": "',
    "any": 'scalar | "[" (scalar (", " scalar){0,15})? "]" | "{" (key scalar (", " key scalar){0,15})? "}"',
}
"""Rules that the others use. `any` is a value that no schema describes: flat, so that it ends."""


def call_grammar(parameters: Mapping[str, Any]) -> str:
    """GBNF, with the rule `root`, of JSON that fits the schema of an object, on one line.

    Raises `ValueError` if nothing can fit it.
    """
    made = _Rules(parameters)
    root = made.value(parameters, 0)
    if root is None:
        raise ValueError("nothing fits the schema of the tool's parameters")
    rules = {"root": root, **made.rules, **_BASE}
    return "\n".join(f"{name} ::= {rule}" for name, rule in rules.items())


class _Rules:
    """Turns schemas into rules. What returns None has nothing that fits."""

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self._whole = whole
        self.rules: dict[str, str] = {}

    def value(self, schema: Any, depth: int) -> str | None:
        if schema is False:
            return None
        if schema is True or not _DESCRIBING & schema.keys():
            return "any"
        if depth > 3 * _DEEPEST:
            return None
        if "$ref" in schema:
            siblings = {key: value for key, value in schema.items() if key != "$ref"}
            return self.value({**self._referred(schema["$ref"]), **siblings}, depth + 1)
        if "allOf" in schema:
            return self.value(self._joined(schema), depth)
        if "const" in schema or "enum" in schema:
            return self._literals(schema)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                siblings = {
                    key: value for key, value in schema.items() if key not in (keyword, "description")
                }
                each = ({**siblings, **one} if isinstance(one, dict) else one for one in schema[keyword])
                return self._one_of(self.value(one, depth + 1) for one in each)
        return self._one_of(self._of_type(kind, schema, depth) for kind in _kinds(schema))

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> str | None:
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            least = min(int(schema.get("minLength", 0)), 4 * LONGEST_STRING)
            most = min(int(schema.get("maxLength", max(least, LONGEST_STRING))), 4 * LONGEST_STRING)
            return rf'"\"" char{{{least},{most}}} "\""' if least <= most else None
        if kind in ("number", "integer"):
            return _number(schema, whole=kind == "integer")
        return '("true" | "false")' if kind == "boolean" else '"null"'

    def _literals(self, schema: Mapping[str, Any]) -> str | None:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        kinds = _kinds(schema) if "type" in schema else _TYPES
        fitting = (value for value in values if any(_is(value, kind) for kind in kinds))
        return self._one_of(_literal(value) for value in fitting)

    def _object(self, schema: Mapping[str, Any], depth: int) -> str | None:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        known = {**properties, **{name: True for name in required if name not in properties}}
        members: list[tuple[str, bool]] = []
        for name, each in known.items():
            if name not in required and depth >= _DEEPEST:
                continue
            value = self.value(each, depth + 1)
            if value is not None:
                members.append((self._rule(f'{_literal(name)} ": " {value}'), name in required))
            elif name in required:
                return None
        others = schema.get("additionalProperties", depth > 0)  # no parameters are no parameters
        if not known and others is not False:
            return self._map(others, depth)
        return self._rule(f'"{{" {self._members(members)} "}}"')

    def _members(self, members: Sequence[tuple[str, bool]]) -> str:
        """In the schema's order, with commas between those that are there."""
        tails = [""]
        for rule, needed in reversed(members):
            after = f'", " {rule}' if needed else f'(", " {rule})?'
            tails.insert(0, self._rule(f"{after} {tails[0]}"))
        firsts = []
        for (rule, needed), tail in zip(members, tails[1:], strict=True):
            firsts.append(f"{rule} {tail}")
            if needed:
                return f"({' | '.join(firsts)})"
        return f"({' | '.join(firsts)})?" if firsts else ""

    def _map(self, others: Any, depth: int) -> str:
        value = self.value(others, depth + 1) if depth < _DEEPEST else None
        if value is None:
            return '"{}"'
        pair = self._rule(f"key {value}")
        return self._rule(f'"{{" ({pair} (", " {pair}){{0,{LONGEST_ARRAY - 1}}})? "}}"')

    def _array(self, schema: Mapping[str, Any], depth: int) -> str | None:
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(least, LONGEST_ARRAY)))
        if depth >= _DEEPEST:
            most = min(most, least)
        first: list[str] = []
        rest: str | None = None
        for each in schema.get("prefixItems", ())[:most]:
            value = self.value(each, depth + 1)
            if value is None:
                most = len(first)
                break
            first.append(value)
        if most > len(first):
            rest = self.value(schema.get("items", True), depth + 1)
            most = most if rest is not None else len(first)
        if least > most:
            return None
        items = first + [self._rule(rest)] * (most - len(first)) if rest is not None else first
        return self._rule(f'"[" {self._items(items, least)} "]"')

    def _items(self, items: Sequence[str], least: int) -> str:
        """Optional items one inside the other: a later one is there only if those before it are."""
        inner = ""
        for index in reversed(range(len(items))):
            separator = '", " ' if index else ""
            inner = f"{separator}{items[index]} {inner}"
            if index >= least:
                inner = f"({inner})?"
        return inner

    def _one_of(self, alternatives: Iterable[str | None]) -> str | None:
        possible = list(dict.fromkeys(each for each in alternatives if each is not None))
        if len(possible) < 2:
            return possible[0] if possible else None
        return self._rule(" | ".join(possible))

    def _rule(self, expression: str) -> str:
        name = f"r{len(self.rules)}"
        self.rules[name] = expression.strip() or '""'
        return name

    def _referred(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._whole
        for step in reference.removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise ValueError(f"the schema refers to {reference}, which it doesn't define")
            found = found[key]
        return found if isinstance(found, dict) else {} if found else {"enum": []}

    def _joined(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        joined = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            if part is False:
                return {"enum": []}
            each = {} if part is True else dict(part)
            if "$ref" in each:
                each = {**self._referred(each.pop("$ref")), **each}
            if "allOf" in each:
                each = self._joined(each)
            properties = {**joined.get("properties", {}), **each.get("properties", {})}
            required = list(dict.fromkeys([*joined.get("required", ()), *each.get("required", ())]))
            joined |= each
            if properties:
                joined["properties"] = properties
            if required:
                joined["required"] = required
        return joined


def _kinds(schema: Mapping[str, Any]) -> Sequence[str]:
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return (kinds,)
    if kinds:
        return [kind for kind in kinds if kind != "integer" or "number" not in kinds]
    if schema.keys() & {"properties", "required", "additionalProperties"}:
        return ("object",)
    if schema.keys() & {"items", "prefixItems"}:
        return ("array",)
    return [kind for kind in _TYPES if kind != "integer"]


def _number(schema: Mapping[str, Any], whole: bool) -> str | None:
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    low, high = max(schema.get("minimum", -math.inf), above), min(schema.get("maximum", math.inf), below)
    if low > high:
        return None
    step = schema.get("multipleOf", 1)
    if whole and (high - low) / step <= _COUNTED:
        numbers = (step * count for count in range(math.ceil(low / step), math.floor(high / step) + 1))
        fitting = [_literal(int(each)) for each in numbers if above < each < below and each == int(each)]
        return f"({' | '.join(fitting)})" if fitting else None
    sign = "" if low >= 0 else '"-" ' if high < 0 else '"-"? '
    return f"({sign}whole)" if whole else f"({sign}whole fraction)"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if isinstance(value, int | float):
        return kind == "number" or (kind == "integer" and value == int(value))
    return kind == ("string" if isinstance(value, str) else "array" if isinstance(value, list) else "object")


def _literal(value: Any) -> str:
    """The JSON of a value, as a grammar quotes it."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character, which only an escape can say
        text = json.dumps(value)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\x7f", "\\x7F")
    return f'"{escaped}"'
