"""The one exception whose text is a message to people."""

from textwrap import shorten


def brief(error: Exception) -> str:
    """The first line of a library's error, with the next one where it ends in a colon; 300 signs at most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    many = 2 if lines and lines[0].endswith(":") else 1
    return shorten(" ".join(lines[:many]), 300, placeholder=" …") or type(error).__name__


class InputError(ValueError):
    """What somebody gave (params, files, images, replies) cannot be used.

    The text says what was wrong and where, what is allowed and how to mend it. It is a ValueError,
    so that pydantic reports it from validators; but only this one ends a stage as a message: any
    other ValueError is a fault of the code, and keeps its traceback.
    """
