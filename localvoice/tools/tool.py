"""Tools: functions that the LLM may call.

@tool
async def open_door(room: Annotated[str, Field(description="Name of the room")]) -> str:
    '''Open the door of a room.'''
    ...
"""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, Literal, get_args, overload

from pydantic import ValidationError
from pydantic.errors import PydanticUserError

from localvoice.application.calls import result_of
from localvoice.engines.chat import ToolSpec
from localvoice.languages.templates import PLAIN, Templates, Usage
from localvoice.tools.confirmation import check_question
from localvoice.tools.errors import InvalidArgumentsError, UnknownToolError
from localvoice.tools.reminders import Reminders
from localvoice.tools.schema import arguments_of, complaint_about, flat_schema, parameter_types

Policy = Literal["parallel", "sequential"]
Function = Callable[..., Any]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_ERRORS_SHOWN: Final = 3  # of a wrong call: a model that reads ten of them corrects none


@dataclass(frozen=True)
class ToolContext:
    """What a tool knows of the conversation that called it."""

    call_id: str
    session_id: str
    turn_id: str
    cancelled: asyncio.Event
    """Set when the result is not wanted any more: the user interrupted, or it took too long. Any thread may
    ask `is_set()`; only a coroutine may wait for it."""
    announce: Callable[[float, str], None]
    """After so many seconds the agent says this text, also after the turn, once there is silence. Raises
    `ToolError` when too many wait already."""
    reminders: Reminders = field(default_factory=Reminders)
    """All that is to be said later in this conversation, to look at and change. Only for coroutines: a plain
    function, which runs in a thread, has `announce`."""


@dataclass(frozen=True)
class Tool:
    """A function that the LLM may call. `@tool` makes one of a typed function.

    Raises ValueError, saying what is wrong, for a spec that the LLM couldn't be offered.
    """

    spec: ToolSpec
    """As the LLM sees it. The schema's definitions are written out where they are used."""
    handler: Callable[[Mapping[str, Any], ToolContext], Awaitable[Any] | Any]
    """Takes what `validate` gave. A plain function runs in a thread of its own."""
    policy: Policy = "parallel"
    """`sequential`: before the parallel ones and one after the other, in the order of the calls."""
    parse: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Turns arguments as JSON gives them into what the handler takes, or raises `InvalidArgumentsError`.
    None: they are checked against the schema and taken as they are."""
    confirm: bool | str = False
    """Whether the user is asked first, and only their yes runs it; or the question to ask, which names every
    required parameter: "Shall I send {text} to {recipient}?"."""
    phrases: tuple[str, ...] = ()
    """Sentences that call it without the LLM, such as "open [the] {door} [door]": see `languages.templates`.
    What stands for a parameter is given as text, and the sentence counts only if `validate` takes it."""
    loose: tuple[str, ...] = ()
    """Sentences of the same kind that are tried last, after all that is known more exactly. They may leave
    much of what is said open: "* (lock|close) * {door:front door|garage} *"."""
    unless: tuple[str, ...] = ()
    """What doesn't mean this tool, though it fits one of `loose`."""
    follow_ups: tuple[str, ...] = ()
    """Sentences that, right after a call of it, call it again with other arguments: "and [the] {door}"."""
    follows: tuple[str, ...] = ()
    """Names of other tools after which its follow-ups count as well, with no arguments but their own."""
    cues: tuple[str, ...] = ()
    """Words, or parts of sentences such as "(next|last) bus", one of which is in what needs it.
    Where all tools on offer have cues, the LLM is told of tools only after one of them: small models answer
    better without."""
    usage: Usage | None = None
    """How the language of its sentences is used, with the words that they name; None: that of the user's."""
    speaks: bool = False
    """Whether what it returns, or why it raises `ToolError`, is a sentence for the user: it is said as it is,
    and the LLM isn't asked what to say."""

    def __post_init__(self) -> None:
        """Check the spec and write its schema's definitions out."""
        name = self.spec.name
        if not _NAME.fullmatch(name):
            rule = "give it 1 to 64 letters, digits, _ or -, a letter first"
            raise ValueError(f"a tool can't be called {name!r}: {rule}")
        if not self.spec.description.strip():
            raise ValueError(f"the tool {name} needs a description: the LLM decides by it when to call it")
        if self.policy not in get_args(Policy):
            raise ValueError(f"the tool {name}'s policy must be parallel or sequential, not {self.policy!r}")
        try:
            parameters = flat_schema(self.spec.parameters)
        except ValueError as error:
            raise ValueError(f"the tool {name}: {error}") from error
        check_question(name, self.confirm, parameters)
        self._check_sentences(parameters)
        object.__setattr__(self, "spec", replace(self.spec, parameters=parameters))

    def _check_sentences(self, parameters: Mapping[str, Any]) -> None:
        try:
            usage = self.usage or PLAIN
            places = Templates([*self.phrases, *self.loose, *self.follow_ups], usage).places
            Templates([*self.unless, *self.cues], usage)
        except ValueError as error:
            raise ValueError(f"the tool {self.name}: {error}") from error
        if unknown := sorted(places - parameters.get("properties", {}).keys()):
            raise ValueError(
                f"a sentence of the tool {self.name} names {unknown[0]}: it has no such parameter"
            )

    @property
    def name(self) -> str:
        """The name in the spec, by which the LLM calls the tool."""
        return self.spec.name

    def validate(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments as the handler takes them.

        Raises `InvalidArgumentsError`, and what a validator of the application fails with.
        """
        if (parse := self.parse) is not None:
            return result_of(lambda: parse(arguments))
        if complaint := complaint_about(arguments, self.spec.parameters):
            raise InvalidArgumentsError(f"invalid arguments: {complaint}")
        return arguments


class ToolRegistry:
    """The tools of an agent, by name, in the order in which they were registered."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._by_name: dict[str, Tool] = {}
        for each in tools:
            self.register(each)

    def register(self, new: Tool) -> None:
        """Add a tool; raises ValueError if the name is taken."""
        if new.name in self._by_name:
            raise ValueError(f"there is a tool called {new.name} already: give this one another name")
        self._by_name[new.name] = new

    def get(self, name: str) -> Tool:
        """The tool of that name; raises `UnknownToolError`."""
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(self._by_name) or "there are none"
            raise UnknownToolError(f"there is no tool called {name}; the tools are: {known}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._by_name)

    def filter(self, names: Iterable[str]) -> tuple[Tool, ...]:
        """The tools of these names, in this order; raises `UnknownToolError`."""
        return tuple(self.get(name) for name in names)

    def __iter__(self) -> Iterator[Tool]:
        """The tools, in order."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        """Number of tools."""
        return len(self._by_name)


@overload
def tool(function: Function, /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    policy: Policy = "parallel",
    confirm: bool | str = False,
    phrases: Sequence[str] = (),
    loose: Sequence[str] = (),
    unless: Sequence[str] = (),
    follow_ups: Sequence[str] = (),
    follows: Sequence[str] = (),
    cues: Sequence[str] = (),
    speaks: bool = False,
) -> Callable[[Function], Tool]: ...
def tool(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    policy: Policy = "parallel",
    confirm: bool | str = False,
    phrases: Sequence[str] = (),
    loose: Sequence[str] = (),
    unless: Sequence[str] = (),
    follow_ups: Sequence[str] = (),
    follows: Sequence[str] = (),
    cues: Sequence[str] = (),
    speaks: bool = False,
) -> Tool | Callable[[Function], Tool]:
    """Make a tool of a typed function, sync or async.

    Its name and the first line of its docstring are the tool's, unless given here. Every parameter needs a
    type that JSON can carry; `Annotated[…, Field(description=…)]` describes it. One annotated `ToolContext`
    gets the context and is not for the LLM. With `confirm` the user is asked first, in these words if it is a
    sentence. `phrases` and what comes after it are the fields of `Tool`. Raises
    TypeError for a function that can't be a tool, ValueError for a bad name, question or sentence.
    """

    def decorate(function: Function) -> Tool:
        if not (inspect.isfunction(function) or inspect.ismethod(function)):
            raise TypeError(f"a tool is made of a function or a bound method, not of {function!r}")
        try:
            plain = _tool_of(function, name, description, policy, confirm)
        except (TypeError, PydanticUserError) as error:
            raise TypeError(f"{function.__qualname__} can't be a tool: {error}") from error
        return replace(
            plain,
            phrases=tuple(phrases),
            loose=tuple(loose),
            unless=tuple(unless),
            follow_ups=tuple(follow_ups),
            follows=tuple(follows),
            cues=tuple(cues),
            speaks=speaks,
        )

    return decorate if function is None else decorate(function)


def _tool_of(
    function: Function, name: str | None, description: str | None, policy: Policy, confirm: bool | str
) -> Tool:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("it must return its result, not yield it")
    sentence = description or (inspect.getdoc(function) or "").partition("\n")[0].strip()
    if not sentence:
        raise TypeError("its docstring's first line must say what it does")
    types = parameter_types(function)
    contexts = [each for each, kind in types.items() if kind is ToolContext]
    given = {each: kind for each, kind in types.items() if each not in contexts}
    adapter, schema = arguments_of(function, given)

    def parse(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return adapter.validate_python(dict(arguments))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            complaints = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
            words = "; ".join(islice(complaints, _ERRORS_SHOWN))
            raise InvalidArgumentsError(f"invalid arguments: {words}") from error

    def call(arguments: Mapping[str, Any], context: ToolContext) -> Any:
        return function(**arguments, **dict.fromkeys(contexts, context))

    async def call_async(arguments: Mapping[str, Any], context: ToolContext) -> Any:
        return await call(arguments, context)

    handler = call_async if inspect.iscoroutinefunction(function) else call
    return Tool(ToolSpec(name or function.__name__, sentence, schema), handler, policy, parse, confirm)
