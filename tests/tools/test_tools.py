"""Tools: made of typed functions, checked when they are made and at each call, and kept by name."""

import asyncio
import enum
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from pydantic import BaseModel, Field

from localvoice.tools import (
    InvalidArgumentsError,
    ToolContext,
    ToolError,
    ToolRegistry,
    UnknownToolError,
    tool,
)
from tests.support.tools_by_hand import ARGUMENTS, NUMBER_SCHEMA, by_hand, call


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Topping(BaseModel):
    """What lies on it."""

    title: str
    grams: int = 50


class Tree(BaseModel):
    """Contains itself."""

    children: list["Tree"] = []


@tool
def order(
    dish: Annotated[str, Field(description="what to cook")],
    context: ToolContext,
    count: Annotated[int, Field(ge=1, le=9)] = 1,
    size: Size = Size.SMALL,
    toppings: list[Topping] | None = None,
    day: date | None = None,
) -> str:
    """Order a dish.

    The rest is for those who read the code.
    """
    return f"{count} {size.value} {dish} with {toppings} on {day} for {context.session_id}"


def test_a_typed_function_becomes_a_tool_with_a_flat_schema() -> None:
    assert (order.name, order.spec.description, order.policy) == ("order", "Order a dish.", "parallel")
    topping = {
        "type": "object",
        "description": "What lies on it.",
        "properties": {"title": {"type": "string"}, "grams": {"type": "integer", "default": 50}},
        "required": ["title"],
    }
    assert order.spec.parameters == {
        "type": "object",
        "properties": {
            "dish": {"type": "string", "description": "what to cook"},
            "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
            "size": {"type": "string", "enum": ["small", "large"]},
            "toppings": {"type": "array", "items": topping},
            "day": {"type": "string", "format": "date"},
        },
        "required": ["dish"],
    }


def test_arguments_arrive_as_the_types_that_the_function_names() -> None:
    assert call(
        order, dish="soup", count="2", size="large", toppings=[{"title": "salt"}], day="2026-02-01"
    ) == ("2 large soup with [Topping(title='salt', grams=50)] on 2026-02-01 for session")
    assert call(order, dish=7) == "1 small 7 with None on None for session"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "dish: Field required"),
        ({"dish": "soup", "count": "many"}, "count: Input should be a valid integer"),
        ({"dish": "soup", "count": 10}, "count: Input should be less than or equal to 9"),
        ({"dish": "soup", "plate": 1}, "plate: Extra inputs are not permitted"),
        ({"dish": "soup", "toppings": [{}]}, "toppings.0.title: Field required"),
        ({"dish": "soup", "context": {}}, "context: Extra inputs are not permitted"),
    ],
)
def test_wrong_arguments_are_told_by_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentsError, match="invalid arguments") as error:
        order.validate(arguments)
    assert words in str(error.value)


async def test_the_decorator_takes_a_name_a_description_and_a_policy() -> None:
    @tool(name="lights-on", description="Turn the lights on.", policy="sequential")
    async def on(room: Literal["hall", "kitchen"] = "hall") -> str:
        return room

    assert (on.name, on.spec.description, on.policy) == ("lights-on", "Turn the lights on.", "sequential")
    assert on.spec.parameters["properties"]["room"]["enum"] == ["hall", "kitchen"]
    assert await call(on, room="kitchen") == "kitchen"
    assert await call(on) == "hall"


def test_arguments_may_be_called_like_anything() -> None:
    @tool
    def odd(json: int, copy: str, model_config: bool, title: str, _hidden: int = 3) -> tuple[Any, ...]:
        """Return all."""
        return json, copy, model_config, title, _hidden

    assert list(odd.spec.parameters["properties"]) == ["json", "copy", "model_config", "title", "_hidden"]
    assert call(odd, json=1, copy="c", model_config=True, title="t") == (1, "c", True, "t", 3)


def test_a_parameter_keeps_its_name_and_may_have_its_default_in_its_type() -> None:
    @tool
    def cook(
        dish: Annotated[str, Field(alias="food")], count: Annotated[int, Field(default=2)]
    ) -> tuple[str, int]:
        """Cook a dish."""
        return dish, count

    assert list(cook.spec.parameters["properties"]) == ["dish", "count"]
    assert cook.spec.parameters["required"] == ["dish"]
    assert call(cook, dish="soup") == ("soup", 2)


def test_a_bound_method_can_be_a_tool() -> None:
    class Shop:
        def open(self, hour: int) -> str:
            """Open the shop."""
            return f"open at {hour}"

    assert call(tool(Shop().open), hour=9) == "open at 9"


def test_only_parameters_of_the_signature_count() -> None:
    class Desk:
        def look(self: Any, room: str, database: tuple[str, ...] = ()) -> str:
            """Look into a room."""
            return f"{', '.join(database)} in the {room}"

    @functools.wraps(Desk().look)
    def with_database(**arguments: Any) -> str:
        return Desk().look(**arguments, database=("Ada",))

    room = inspect.signature(Desk().look).parameters["room"]
    with_database.__signature__ = inspect.Signature([room])  # type: ignore[attr-defined]
    assert call(tool(Desk().look), room="hall") == " in the hall"
    wrapped = tool(with_database)
    assert list(wrapped.spec.parameters["properties"]) == ["room"]
    assert call(wrapped, room="hall") == "Ada in the hall"


def test_a_type_that_contains_itself_keeps_its_definitions() -> None:
    @tool
    def plant(tree: Tree) -> int:
        """Plant a tree."""
        return len(tree.children)

    assert plant.spec.parameters["properties"]["tree"] == {"$ref": "#/$defs/Tree"}
    assert call(plant, tree={"children": [{}, {}]}) == 2


def without_docstring(n: int) -> None:
    pass


def with_star_args(*numbers: int) -> None:
    """Add."""


def with_keywords(**numbers: int) -> None:
    """Add."""


def with_positional_only(n: int, /) -> None:
    """Add."""


def without_annotation(n) -> None:  # type: ignore[no-untyped-def]
    """Add."""


def with_unknown_annotation(n: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Add."""


def with_callable(n: Callable[[], None]) -> None:
    """Add."""


def with_foreign_class(n: asyncio.Event) -> None:
    """Add."""


def with_field_default(n: int = Field(3)) -> None:
    """Add."""


def with_two_defaults(n: Annotated[int, Field(default=2)] = 3) -> None:
    """Add."""


def with_a_factory_and_a_default(n: Annotated[list[int] | None, Field(default_factory=list)] = None) -> None:
    """Add."""


def generator(n: int) -> Iterator[int]:
    """Count."""
    yield n


async def async_generator(n: int) -> AsyncIterator[int]:
    """Count."""
    yield n


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (without_docstring, "docstring's first line must say what it does"),
        (with_star_args, r"\*numbers: int can't be given so"),
        (with_keywords, r"\*\*numbers: int can't be given so"),
        (with_positional_only, "n: int can't be given so"),
        (without_annotation, "n needs a type annotation"),
        (with_unknown_annotation, "isn't known there: name 'Nowhere'"),
        (with_callable, "with_callable can't be a tool"),
        (with_foreign_class, "with_foreign_class can't be a tool"),
        (with_field_default, r"Annotated\[<type>, Field\(…\)\]"),
        (with_two_defaults, "n has two defaults"),
        (with_a_factory_and_a_default, "n has two defaults"),
        (generator, "must return its result, not yield it"),
        (async_generator, "must return its result, not yield it"),
        (len, "function or a bound method"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_where_it_is_decorated(
    function: Callable[..., Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        tool(function)


@given(ARGUMENTS)
def test_whatever_the_arguments_they_are_accepted_or_refused_in_words(arguments: dict[str, Any]) -> None:
    try:
        accepted = order.validate(arguments)
    except InvalidArgumentsError as error:
        assert str(error)
        return
    assert isinstance(accepted["dish"], str)
    assert 1 <= accepted.get("count", 1) <= 9
    assert set(accepted) == set(arguments)


def test_a_registry_keeps_tools_by_name_and_in_order() -> None:
    first, second = by_hand(NUMBER_SCHEMA, "first"), by_hand(NUMBER_SCHEMA, "second")
    registry = ToolRegistry([first])
    registry.register(second)
    assert tuple(registry) == (first, second)
    assert (registry.names, len(registry)) == (("first", "second"), 2)
    assert registry.get("second") is second
    assert registry.filter(["second", "first"]) == (second, first)


def test_a_registry_says_what_is_wrong() -> None:
    registry = ToolRegistry([order])
    with pytest.raises(ValueError, match="a tool called order already"):
        registry.register(order)
    with pytest.raises(ValueError, match="a tool called order already"):
        ToolRegistry([order, order])
    with pytest.raises(UnknownToolError, match="no tool called cook; the tools are: order"):
        registry.filter(["order", "cook"])
    with pytest.raises(ToolError, match="there are none"):
        ToolRegistry().get("cook")
