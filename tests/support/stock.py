"""The stock client in a page that another server than ours gives out."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from playwright.sync_api import Page

Event = list[Any]
"""An event's name, and what came with it."""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *words: object) -> None:
        """Nothing of it belongs into the tests' output."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The origin of a server that gives out a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder)) as server:
        thread = Thread(target=server.serve_forever, name="an application's server")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class StockClient:
    """The stock client in a browser's page; what it does is in `stock_client/page.js`."""

    def __init__(self, page: Page, origin: str) -> None:
        self._page = page
        page.goto(origin)

    def do(self, what: str, *words: object) -> Any:
        """Call one of the page's functions, and wait for what it gives."""
        return self._page.evaluate("([what, words]) => stock[what](...words)", [what, list(words)])

    def start(self, address: str, query: str = "", **reconnection: object) -> float:
        """Connect to a server by its address, `http://…/`; how many milliseconds it took."""
        base = address.partition("?")[0].replace("http", "ws", 1)
        took: float = self.do("start", f"{base.rstrip('/')}/{query}", reconnection)
        return took

    def until(self, name: str) -> list[Event]:
        """The events up to this one, without those of before."""
        events: list[Event] = self.do("eventsUntil", name)
        return events


Stock = Callable[..., AbstractContextManager[StockClient]]
"""What the fixture `stock` is: opens a browser with the client."""


def the(name: str, events: list[Event]) -> Any:
    """What came with the only event of this name."""
    (found,) = [event[1] for event in events if event[0] == name]
    return found


def order(events: list[Event]) -> list[str]:
    """The names in order, each run of one as one."""
    names = [event[0] for event in events]
    return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]
