"""Two things in one sentence: "a timer for ten minutes and one for twenty"."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from localvoice.conversation.phrases.understood import Command
from localvoice.engines.chat import ToolCall

Reader = Callable[[str, ToolCall | None], Command | None]
"""What these words call, where this call went before."""


_MOST: Final = 4
"""Each doubles the ways to take a sentence apart."""


@dataclass(frozen=True)
class Several:
    """Finds the commands in what some words join."""

    joints: tuple[str, ...]
    """Such as "and"."""
    read: Reader

    def of(self, words: str, last: ToolCall | None) -> Command | None:
        """The first command, with the others after it; None unless each part is one."""
        joints = [*_joints(self.joints).finditer(words)] if self.joints else []
        if not 0 < len(joints) <= _MOST:
            return None
        whole = self.read(words, last)
        for joint in reversed(joints):
            before, after = words[: joint.start()], words[joint.start("word") :]
            first = self.of(before, last) or self.read(before, last)
            if first is None or "" in first.arguments.values():
                continue  # "remind me to buy milk and" goes on
            latest = (first, *first.then)[-1]
            then = self.read(after, ToolCall("", latest.name, latest.arguments))
            if then is None:
                continue
            # "An hour and ten minutes" is one length of time; "at seven and eight" are two times.
            if not (_goes_on(then, words[joint.end() :].lstrip()) and _spans(whole, before, after)):
                return replace(first, then=(*first.then, then))
        return None


def _goes_on(command: Command, words: str) -> bool:
    """Whether the words begin with an argument, as what belongs to one before them does."""
    return any(words.startswith(each) for each in map(str, command.arguments.values()) if each)


def _spans(whole: Command | None, before: str, after: str) -> bool:
    """Whether an argument goes from one part into the other."""
    end, begin = before.split()[-1:], after.split()[:2]
    middle = " ".join([*end, *begin])
    return whole is not None and any(middle in str(each) for each in whole.arguments.values())


@lru_cache(maxsize=8)
def _joints(joints: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = "|".join(map(re.escape, sorted(joints, key=len, reverse=True)))
    return re.compile(rf"[,;]? (?P<word>{longest_first})(?= )", re.IGNORECASE)
