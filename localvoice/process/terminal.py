"""The terminal, on which others' words are words: what a model says or a file holds must not command it."""

from typing import Final

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"
} | {code: f"\\u{code:04x}" for code in range(0x202A, 0x202F)}
"""ESC among them, which begins most commands, and its 8-bit forms; and what has the letters that follow run
the other way, so that other words are read than were written. Languages that run so by nature do without."""


def plain(text: str) -> str:
    """The text with control characters spelt out, such as `\\x1b`; tabs and line ends stay."""
    return text.translate(_CONTROLS)


def open_terminal(stderr: bool = False) -> Console:
    """A console that shows all it is given as `plain` does. Brackets and colons in it are no markup."""
    console = Console(stderr=stderr, markup=False, emoji=False)
    console.push_render_hook(_Plainly())
    return console


class _Plainly(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Plain(each) for each in renderables]


class _Plain:
    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)
