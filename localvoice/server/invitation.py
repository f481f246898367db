"""What the start says to whoever wants to talk from another device: the link, as a QR code too."""

from collections.abc import Sequence
from itertools import zip_longest

import segno
from rich.console import Console
from rich.text import Text

from localvoice.server.certificate import Certificate


def print_invitation(console: Console, links: Sequence[str], certificate: Certificate) -> None:
    """Show the links, the first as a QR code, and the fingerprint of a certificate that no browser knows."""
    first, *others = links
    console.print("\nOpen this link on your phone, in the same network, or on any machine there:\n")
    _print_exactly(console, first)
    if console.is_terminal:
        console.print(_qr_code(first))
    if others:
        console.print("This machine's other addresses:\n")
        for link in others:
            _print_exactly(console, link)
    if certificate.self_made:
        console.print(
            "The browser will warn that it doesn't know the certificate, for this machine made it itself. "
            "Look at it there: it is the right one if its SHA-256 fingerprint is\n",
            highlight=False,
        )
        _print_exactly(console, certificate.fingerprint)
    console.print("Whoever has the link can talk to this machine. Ctrl-C ends it.\n")


def _print_exactly(console: Console, text: str) -> None:
    # A link that is broken in two opens nothing, and rich takes the ":AB:" of a fingerprint for an emoji.
    console.print(f"{text}\n", style="bold", markup=False, emoji=False, highlight=False, soft_wrap=True)


def _qr_code(link: str) -> Text:
    """Two modules in each character, black on white whatever the terminal's colours are."""
    rows = [list(row) for row in segno.make(link, micro=False, error="l").matrix_iter(border=4)]
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=[0] * len(rows[0]))
    lines = ["".join(" ▀▄█"[upper + 2 * lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs]
    return Text("\n".join(lines) + "\n", style="black on bright_white", no_wrap=True)
