"""Text that can be sent and saved."""


def in_utf8(text: str) -> str:
    """The text, with a "?" in the place of each half of a character.

    Python has those in the names of files that aren't UTF-8, and so in an application's errors. No message
    and no file can hold them.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
