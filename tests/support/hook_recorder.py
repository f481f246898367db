"""Hooks that remember what they were called with."""

from dataclasses import fields
from typing import Any

from localvoice.application.hooks import Hooks


class Recorder:
    """Notes every hook that is called, with its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def hooks(self) -> Hooks:
        return Hooks(**{each.name: self._note(each.name) for each in fields(Hooks)})

    def _note(self, name: str) -> Any:
        return lambda *args: self.calls.append((name, args))

    def names(self) -> list[str]:
        """In order, each run of one name as one."""
        names = [name for name, _ in self.calls]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [args for each, args in self.calls if each == name]
