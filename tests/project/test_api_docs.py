"""The API's documentation says what the code has: hooks, arguments, metrics, errors, names, examples."""

import ast
import importlib.util
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

import localvoice
from localvoice.api import LocalVoice
from localvoice.application import hooks
from localvoice.application.hooks import Hooks
from localvoice.contract.errors import ErrorCode
from localvoice.contract.metrics import Metric
from localvoice.engines.chat import ToolCall
from localvoice.engines.types import Transcript
from localvoice.observability import hook_sets
from localvoice.transports.dialogue import Answer
from tests.support.folders import ROOT
from tests.support.public_names import PUBLIC

API = (ROOT / "docs" / "api.md").read_text()
HOOKS = (ROOT / "docs" / "hooks.md").read_text()
PUBLIC_MODULES = ("localvoice.contract.messages", "localvoice.transports.dialogue")
GIVEN = [
    *(each for each in vars(hooks).values() if inspect.isclass(each) and each.__module__ == hooks.__name__),
    Transcript,
    ToolCall,
]


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose first column has this title."""
    lines = text.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith(f"| {first} |"))
    table: list[list[str]] = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def hook_types(name: str) -> list[str]:
    """The types of a hook's arguments, as the table writes them."""
    (hook,) = [each for each in get_args(get_type_hints(Hooks)[name]) if each is not NoneType]
    return [written(each) for each in get_args(hook)[0]]


def written(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join("None" if each is NoneType else each.__name__ for each in get_args(kind))
    return str(kind.__name__)


def docstrings_of_hooks() -> dict[str, str]:
    """The string under each field of `Hooks`."""
    (definition,) = [
        node
        for node in ast.parse(inspect.getsource(hooks)).body
        if isinstance(node, ast.ClassDef) and node.name == "Hooks"
    ]
    found: dict[str, str] = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            found[field.target.id] = str(text.value.value)
    return found


def test_the_table_of_hooks_is_the_code() -> None:
    table = rows(HOOKS, "hook")
    assert [quoted(row[0])[0] for row in table] == [each.name for each in fields(Hooks)]
    assert len(table) == 26 and all(len(row) == 4 and row[2] for row in table)
    for name, arguments, _, may_reject in table:
        types = [each.partition(": ")[2] for each in quoted(arguments)]
        assert types == hook_types(quoted(name)[0]), name
        rejects = "May raise `Rejection`" in docstrings_of_hooks()[quoted(name)[0]]
        assert (may_reject == "yes") == rejects, name


def test_each_guardrail_says_what_it_stops() -> None:
    rejecting = [quoted(row[0])[0] for row in rows(HOOKS, "hook") if row[3] == "yes"]
    assert [quoted(row[0])[0] for row in rows(HOOKS, "rejected in")] == rejecting and len(rejecting) == 4


@pytest.mark.parametrize(
    "given", [each for each in GIVEN if each not in (Hooks, hooks.Rejection)], ids=lambda each: each.__name__
)
def test_what_hooks_are_given_is_told_field_by_field(given: Any) -> None:
    (told,) = [quoted(row[1]) for row in rows(HOOKS, "class") if quoted(row[0]) == [given.__name__]]
    assert told == [each.name for each in fields(given)]


def test_the_ready_made_sets_are_told_with_their_arguments() -> None:
    told = {quoted(row[0])[0] for row in rows(HOOKS, "set")}
    made = [each for name, each in vars(hook_sets).items() if re.fullmatch(r"[a-z]+_hooks", name)]
    assert told == set(map(_call, made)) and len(told) == 4


def _call(function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    listed = (f"{each.name}={each.default!r}".replace("'", '"') for each in parameters)
    return f"{function.__name__}({', '.join(listed)})"


def test_the_table_of_metrics_is_the_code() -> None:
    assert sorted(quoted(row[0])[0] for row in rows(HOOKS, "metric")) == sorted(Metric)
    assert {row[1] for row in rows(HOOKS, "metric")} == {"count", "gauge", "timing"}


def test_every_error_code_is_told() -> None:
    assert [code for row in rows(API, "code") for code in quoted(row[0])] == list(ErrorCode)


def test_every_public_name_is_told_and_is_there() -> None:
    told = [name for row in rows(API.partition("## Public names")[2], "name") for name in quoted(row[0])]
    assert sorted(told) == sorted(PUBLIC)
    assert all(getattr(localvoice, name) is not None for name in told)


def test_examples_and_docs_import_from_public_modules_alone() -> None:
    texts = [*(ROOT / "examples").glob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    modules = {
        name
        for path in texts
        for name in re.findall(r"^(?:from|import) (localvoice[\w.]*)", path.read_text(), re.M)
    }
    assert modules <= {"localvoice", *PUBLIC_MODULES}


def test_the_public_modules_are_told() -> None:
    introduction = API.partition("## Examples")[0]
    assert set(re.findall(r"`(localvoice\.[\w.]+)`", introduction)) == set(PUBLIC_MODULES)


def test_every_argument_and_method_of_the_agent_is_told() -> None:
    arguments = list(inspect.signature(LocalVoice.__init__).parameters)[1:]
    assert [quoted(row[0])[0] for row in rows(API, "argument")] == arguments
    methods = [name for name in vars(LocalVoice) if not name.startswith("_")]
    told = [re.findall(r"(\w+)\(", row[0])[0] for row in rows(API, "method")]
    assert told == methods


def test_every_field_of_an_answer_is_told() -> None:
    assert [quoted(row[0])[0] for row in rows(API, "field")] == [each.name for each in fields(Answer)]


def test_every_example_is_told() -> None:
    told = {re.findall(r"\(\.\./examples/(\w+\.py)\)", row[0])[0] for row in rows(API, "file")}
    assert told == {path.name for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("text", [API, HOOKS], ids=["api", "hooks"])
def test_modules_and_links_that_are_named_exist(text: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / "docs" / link).exists(), link
    for name in re.findall(r"(?:in|from|of|are in) `(localvoice(?:\.\w+)+)`", text):
        assert importlib.util.find_spec(name) is not None, name


def test_the_errors_at_the_start_are_where_the_table_says() -> None:
    for name, module, _ in rows(API, "error"):
        for where in quoted(module):
            assert issubclass(getattr(importlib.import_module(where), quoted(name)[0]), Exception)
