"""How every stage ends: a bad input is one clear line and exit status 1, not a traceback."""

import sys
from collections.abc import Callable


def run(main: Callable[..., None], *arguments: str) -> None:
    """Run a stage's main; ValueErrors are messages to people."""
    try:
        main(*arguments)
    except ValueError as error:
        sys.exit(
            f"{main.__module__.removeprefix('stages.')}: {error}"
            if main.__module__ != "__main__"
            else f"error: {error}"
        )
