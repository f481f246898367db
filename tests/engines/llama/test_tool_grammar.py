"""Grammars of tools' arguments: whatever is written under one is JSON that fits the schema."""

import json
import random
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.engines.llama.grammar import LONGEST_ARRAY, LONGEST_STRING, call_grammar

TOKEN = re.compile(r'\s*("(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|[\w-]+|\{\d+,\d+\}|[()|?])')
ESCAPES = {r"\x7F": "\x7f", r"\\": "\\", r"\"": '"'}
CHARACTERS = "aZ 9é日🎉/{}[]:,.<|>"


class Writer:
    """Writes texts by chance under a grammar of the kind that is made here."""

    def __init__(self, grammar: str, chance: random.Random) -> None:
        self.rules = {
            name: TOKEN.findall(rule)
            for name, _, rule in (line.partition(" ::= ") for line in grammar.splitlines())
        }
        for line in grammar.splitlines():
            rule = line.partition(" ::= ")[2]
            assert not TOKEN.sub("", rule).strip(), f"not GBNF: {rule}"
        self.chance = chance

    def write(self, name: str = "root") -> str:
        text, rest = self._ways(self.rules[name])
        assert not rest
        return text

    def _ways(self, tokens: list[str]) -> tuple[str, list[str]]:
        """One of the alternatives up to the closing parenthesis; only that one is written."""
        ways, depth, way = [], 0, list[str]()
        for index, token in enumerate([*tokens, ")"]):
            depth += (token == "(") - (token == ")")
            if depth < 0 or (token == "|" and not depth):
                ways.append(way)
                way = []
                if depth < 0:
                    return self._sequence(self.chance.choice(ways)), tokens[index + 1 :]
            else:
                way.append(token)
        raise AssertionError("a parenthesis is missing")

    def _sequence(self, tokens: list[str]) -> str:
        text = ""
        while tokens:
            end = 1
            if tokens[0] == "(":
                depth = 1
                while depth:
                    depth += (tokens[end] == "(") - (tokens[end] == ")")
                    end += 1
            item, tokens = tokens[:end], tokens[end:]
            least = most = 1
            if tokens and tokens[0] == "?":
                least, tokens = 0, tokens[1:]
            elif tokens and tokens[0].startswith("{"):
                least, most = map(int, tokens[0][1:-1].split(","))
                tokens = tokens[1:]
            text += "".join(self._item(item) for _ in range(self._count(least, most)))
        return text

    def _count(self, least: int, most: int) -> int:
        return self.chance.choice([least, most, self.chance.randint(least, most)])

    def _item(self, item: list[str]) -> str:
        if item[0] == "(":
            return self._ways(item[1:-1])[0]
        if item[0].startswith('"'):
            return re.sub(r"\\x7F|\\.", lambda found: ESCAPES[found[0]], item[0][1:-1])
        if item[0].startswith("[^"):
            return self.chance.choice(CHARACTERS)
        if item[0].startswith("["):
            first, last = item[0][1], item[0][3:4]
            return chr(self.chance.randint(ord(first), ord(last))) if item[0][2] == "-" else first
        return self.write(item[0])


def texts(schema: dict[str, Any], count: int = 30) -> list[str]:
    writer = Writer(call_grammar(schema), random.Random(1))
    return [writer.write() for _ in range(count)]


def values(schema: dict[str, Any], count: int = 30) -> list[Any]:
    return [json.loads(text) for text in texts(schema, count)]


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            True,
            {"type": "string"},
            {"type": "string", "minLength": 2, "maxLength": 4},
            {"type": "integer"},
            {"type": "integer", "minimum": -3, "exclusiveMaximum": 4},
            {"type": "integer", "minimum": 0, "maximum": 60, "multipleOf": 15},
            {"type": "number", "minimum": 0},
            {"type": "boolean"},
            {"type": ["string", "null"]},
            {"enum": ["grün", 'say "hi"', 7, None, "back\\slash", "line\nbreak", "\x7f", "\ud800"]},
            {"const": {"a": [1, "ß"]}},
            {"description": "anything"},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda each: {"type": "array", "items": each, "minItems": 1, "maxItems": 3}, inner),
        st.builds(
            lambda one, two: {"type": "array", "prefixItems": [one, two], "items": False}, inner, inner
        ),
        st.builds(lambda each: {"type": "object", "additionalProperties": each}, inner),
        st.builds(
            lambda each, needed: {
                "type": "object",
                "properties": each,
                "required": sorted(each)[:needed],
                "additionalProperties": False,
            },
            st.dictionaries(
                st.sampled_from(["a", "größe", "with space", 'q"uote', "b\\"]), inner, max_size=4
            ),
            st.integers(0, 2),
        ),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), SCHEMAS, max_size=3), st.integers(0, 3))
@settings(max_examples=60)  # what is written by chance may be long
def test_what_is_written_fits_the_schema(properties: dict[str, Any], needed: int) -> None:
    schema = {"type": "object", "properties": properties, "required": sorted(properties)[:needed]}
    for value in values(schema, 5):
        jsonschema.validate(value, schema)


def test_optional_fields_come_and_go_and_required_ones_stay() -> None:
    flag = {"type": "boolean"}
    schema = {
        "type": "object",
        "properties": {"a": flag, "b": flag, "c": flag, "d": flag},
        "required": ["c"],
    }
    seen = {tuple(value) for value in values(schema, 300)}
    assert seen == {(*a, *b, "c", *d) for a in ((), ("a",)) for b in ((), ("b",)) for d in ((), ("d",))}


def test_no_parameters_leave_nothing_to_write() -> None:
    assert set(texts({"type": "object"})) == {"{}"}
    assert set(texts({"type": "object", "properties": {}})) == {"{}"}


def test_small_ranges_are_exact() -> None:
    schema = of(n={"type": "integer", "exclusiveMinimum": 0, "maximum": 12, "multipleOf": 4})
    assert {value["n"] for value in values(schema)} == {4, 8, 12}


def test_everything_has_an_end() -> None:
    written = values(of(s={"type": "string"}, n={"type": "number"}, a={"type": "array"}), 60)
    assert max(len(value["s"]) for value in written) == LONGEST_STRING
    assert 1 < max(len(value["a"]) for value in written) <= LONGEST_ARRAY
    assert all(abs(value["n"]) < 1e16 for value in written)


def test_definitions_and_all_of_are_followed() -> None:
    schema = of(where={"allOf": [{"$ref": "#/$defs/place"}, of(zip={"const": 1})]})
    schema["$defs"] = {"place": of(city={"enum": ["Rome"]})}
    assert values(schema, 3) == [{"where": {"city": "Rome", "zip": 1}}] * 3


def test_a_schema_that_contains_itself_has_a_grammar() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "boolean"}}}
    schema = {**of(first={"$ref": "#/$defs/node"}), "$defs": {"node": node}}
    for value in values(schema):
        jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    "parameter",
    [
        {"enum": []},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "string", "enum": [1, 2]},
        False,
        {"type": "array", "items": False, "minItems": 1},
    ],
)
def test_what_nothing_can_fit_is_refused_only_where_it_is_needed(parameter: Any) -> None:
    with pytest.raises(ValueError, match="nothing fits"):
        call_grammar(of(x=parameter))
    assert set(texts({"type": "object", "properties": {"x": parameter}})) == {"{}"}


def test_a_reference_to_nothing_is_named() -> None:
    with pytest.raises(ValueError, match=r"#/\$defs/missing"):
        call_grammar(of(x={"$ref": "#/$defs/missing"}))
