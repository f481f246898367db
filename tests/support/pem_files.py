"""A certificate and its key as a user has them."""

from pathlib import Path

from localvoice.server import certificate


def parts(folder: Path, names: tuple[str, ...] = ("voice.home.example",)) -> tuple[Path, Path]:
    """A certificate and its key in files of their own."""
    folder.mkdir(parents=True)
    key, mark, public = certificate._make(names).decode().partition("-----BEGIN CERTIFICATE-----")
    (folder / "cert.pem").write_text(mark + public)
    (folder / "key.pem").write_text(key)
    return folder / "cert.pem", folder / "key.pem"
