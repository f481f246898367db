"""What the server prints when it starts: where the page is; the token on a terminal only.

Other output is kept: a service's goes to a journal that others may read, such as the group `adm`, a
container's to files.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Final

import segno
from rich.console import Console
from rich.text import Text

from localvoice.config import ConfigError
from localvoice.files import DATA_FOLDER, write_private
from localvoice.server.certificate import Certificate
from localvoice.server.endpoint import Endpoint

_QUERY: Final = "/?token="


@contextmanager
def announced(
    console: Console, endpoint: Endpoint, links: Sequence[str], folder: Path | None = DATA_FOLDER
) -> Iterator[None]:
    """Print where the page is. Inside, a token that was made here is on the terminal or in a file.

    Raises `ConfigError` if neither is possible.
    """
    with nullcontext() if console.file.isatty() else _kept(console, endpoint, links, folder):
        if endpoint.token is not None and console.file.isatty():
            _show_links(console, endpoint, links)
        else:
            address = (links[0].partition(_QUERY)[0], "bold")
            console.print(Text.assemble("\nOpen ", address, " in a browser and talk."))
        if endpoint.certificate is not None and endpoint.certificate.self_made:
            _show_fingerprint(console, endpoint.certificate)
        console.print("Ctrl-C ends it.\n")
        yield


@contextmanager
def _kept(console: Console, endpoint: Endpoint, links: Sequence[str], folder: Path | None) -> Iterator[None]:
    """Print how to get the link; a token that was made here is in a file while it is valid."""
    if endpoint.token is None:
        yield
    elif not endpoint.token_made:
        console.print(
            "\nAdd /?token= and your server.token to the address. It isn't shown outside a terminal."
        )
        yield
    elif folder is None:
        raise ConfigError(
            "This user has no home folder to keep the link with the token in, and it isn't shown outside a "
            "terminal. Set server.token to one of your own."
        )
    else:
        file = folder / f"link-{links[0].partition(_QUERY)[0].rpartition(':')[2]}.txt"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(file, "".join(f"{link}\n" for link in links).encode())
        except OSError as error:
            raise ConfigError(
                f"The link with the token can't be kept in {file} ({error.strerror or error}), and it isn't "
                "shown outside a terminal. Set server.token to one of your own."
            ) from error
        console.print("\nThe link with the token is in this file, which only you can read:\n")
        _print_exactly(console, str(file))
        try:
            yield
        finally:
            with suppress(OSError):  # it stays, as on a full disk; the token is not valid any more
                file.unlink()


def _show_links(console: Console, endpoint: Endpoint, links: Sequence[str]) -> None:
    """The links with the token, the first also as a QR code for a phone."""
    first, *others = links
    if endpoint.certificate is None:
        console.print("\nOpen this link in a browser and talk:\n")
        _print_exactly(console, first)
    else:
        console.print("\nOpen this link on your phone, in the same network, or on any machine there:\n")
        _print_exactly(console, first)
        if console.encoding.startswith("utf"):  # others lack its blocks
            console.print(_qr_code(first))
    if others:
        console.print("This machine's other addresses:\n")
        for link in others:
            _print_exactly(console, link)
    console.print("Everyone who has the link can talk to this machine.\n")


def _show_fingerprint(console: Console, certificate: Certificate) -> None:
    console.print(
        "The browser will warn that it doesn't know the certificate, because this machine made it itself. "
        "Look at it there: it is the right one if its SHA-256 fingerprint is\n",
        highlight=False,
    )
    _print_exactly(console, certificate.fingerprint)


def _print_exactly(console: Console, text: str) -> None:
    # A link that is broken in two opens nothing, and rich takes the ":AB:" of a fingerprint for an emoji.
    console.print(f"{text}\n", style="bold", markup=False, emoji=False, highlight=False, soft_wrap=True)


def _qr_code(link: str) -> Text:
    """Two modules in each character, black on white whatever the terminal's colours are."""
    rows = [list(row) for row in segno.make(link, micro=False, error="l").matrix_iter(border=4)]
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=[0] * len(rows[0]))
    lines = ["".join(" ▀▄█"[upper + 2 * lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs]
    return Text("\n".join(lines) + "\n", style="black on bright_white", no_wrap=True)
