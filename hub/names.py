"""The names of users and tokens, and how what others wrote is shown."""

from typing import Final
from unicodedata import category

from hub.errors import Unauthorized

MAX_USER: Final = 128
MAX_TOKEN_ID: Final = 256


def name_of(value: object, what: str, most: int) -> str:
    """A text that can be stored and shown: no half of a surrogate pair, no control character.

    Raises:
        Unauthorized: it is none.

    """
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise Unauthorized(f"{what} must be a text of 1 to {most} characters")
    if any(category(character) in ("Cc", "Cs") for character in value):
        raise Unauthorized(f"{what} has a character that is no text")
    return value


def printable(text: str) -> str:
    """A text that moves no cursor and turns no letter around, whoever wrote it."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
