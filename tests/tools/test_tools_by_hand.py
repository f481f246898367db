"""Tools that are made by hand: names and schemas are checked when they are made, arguments at each call."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from localvoice.engines.chat import ToolSpec
from localvoice.tools import InvalidArgumentsError, Tool
from tests.support.tools_by_hand import ARGUMENTS, NUMBER_SCHEMA, by_hand, call


@pytest.mark.parametrize("name", ["", "9lives", "a b", "-x", "ä", "a" * 65, "x\n"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be called"):
        by_hand(NUMBER_SCHEMA, name)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "JSON Schema of an object"),
        ({"type": "string"}, "JSON Schema of an object"),
        ({"type": "object", "properties": {"n": {"type": "number!"}}}, "no valid JSON Schema"),
        ({"type": "object", "properties": []}, "no valid JSON Schema"),
        ({"type": "object", "default": {1, 2}}, "written as a dict"),
        ({"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}, "define nothing"),
        ({"type": "object", "properties": {"n": {"$ref": "https://example.org/n"}}}, "refer to https"),
        ({"type": "object", "$defs": {"N": {"$dynamicRef": "https://example.org/n"}}}, "refer to https"),
    ],
)
def test_a_bad_schema_is_refused(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        by_hand(schema)


def test_other_bad_specs_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a description"):
        Tool(ToolSpec("x", " ", NUMBER_SCHEMA), print)
    with pytest.raises(ValueError, match="must be parallel or sequential"):
        Tool(ToolSpec("x", "X.", NUMBER_SCHEMA), print, "whenever")  # type: ignore[arg-type]


def test_a_tool_by_hand_checks_its_arguments_and_takes_them_as_they_are() -> None:
    counter = by_hand(NUMBER_SCHEMA)
    assert call(counter, n=3) == {"n": 3}
    with pytest.raises(InvalidArgumentsError, match="n: -1 is less than the minimum of 0"):
        counter.validate({"n": -1})
    with pytest.raises(InvalidArgumentsError, match="'n' is a required property"):
        counter.validate({})
    with pytest.raises(InvalidArgumentsError) as error:
        counter.validate({"n": "x" * 10_000})
    assert len(str(error.value)) < 300


def test_definitions_of_a_schema_by_hand_are_written_out_and_its_names_stay() -> None:
    schema = {
        "type": "object",
        "title": "Unread",
        "properties": {
            "title": {"$ref": "#/$defs/word", "description": "d"},
            "$ref": {"const": {"title": 1}},
        },
        "$defs": {"word": {"type": "string", "title": "Unread"}},
    }
    assert by_hand(schema).spec.parameters == {
        "type": "object",
        "properties": {"title": {"type": "string", "description": "d"}, "$ref": {"const": {"title": 1}}},
    }


def test_a_schema_that_is_changed_later_does_not_change_the_tool() -> None:
    schema = json.loads(json.dumps(NUMBER_SCHEMA))
    counter = by_hand(schema)
    schema["properties"]["n"]["type"] = "string"
    assert call(counter, n=3) == {"n": 3}


@given(ARGUMENTS)
def test_arguments_by_hand_are_accepted_exactly_if_they_fit_the_schema(arguments: dict[str, Any]) -> None:
    fits = jsonschema.Draft202012Validator(NUMBER_SCHEMA).is_valid(arguments)
    try:
        assert by_hand(NUMBER_SCHEMA).validate(arguments) == arguments
        assert fits
    except InvalidArgumentsError:
        assert not fits
