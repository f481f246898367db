"""Which arguments a tool's own sentences give it."""

import logging
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from localvoice.conversation.phrases.understood import Command
from localvoice.languages.templates import Templates, Usage
from localvoice.observability.log_context import failure
from localvoice.tools import InvalidArgumentsError, Tool

log = logging.getLogger(__name__)


def called(tool: Tool, sentences: tuple[str, ...], words: str, usage: Usage) -> Command | None:
    """The call that these words ask for by one of these sentences."""
    return next(_calls(tool, sentences, words, usage, {}), None)


def called_again(tool: Tool, words: str, usage: Usage, before: Mapping[str, Any]) -> Command | None:
    """The call that these words ask for by one of its follow-ups, after one with these arguments."""
    return next(_calls(tool, tool.follow_ups, words, usage, before), None)


def _calls(
    tool: Tool, sentences: tuple[str, ...], words: str, usage: Usage, before: Mapping[str, Any]
) -> Iterator[Command]:
    required = tool.spec.parameters.get("required", ())
    for said in templates_of(tool, sentences, usage).matches(words):
        if (arguments := _taken(tool, {**before, **said})) is not None:
            # A sentence says with nothing that an argument of the call before doesn't count.
            told = {name: each for name, each in arguments.items() if each != "" or name in required}
            yield Command(tool.name, told)


def templates_of(tool: Tool, sentences: tuple[str, ...], usage: Usage) -> Templates:
    """Sentences of this tool, said by one who uses language like this."""
    return _compiled(sentences, tool.usage or usage)


@lru_cache(maxsize=256)
def _compiled(sentences: tuple[str, ...], usage: Usage) -> Templates:
    return Templates(sentences, usage)


def _taken(tool: Tool, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """What stands in the places of its sentence, as the tool reads it; None where it doesn't take that."""
    try:
        read = tool.validate(said)
    except InvalidArgumentsError:
        return None
    except Exception as error:  # of a validator, which may be the application's: the LLM can still answer
        log.warning("the tool %s can't read what was said: %s", tool.name, failure(error))
        return None
    # Only text, such as the place that a sentence names: other values may not be what a call can hold.
    return {name: read[name] if isinstance(read.get(name), str) else words for name, words in said.items()}
