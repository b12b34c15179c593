"""How every stage ends: a bad input is one clear line and exit status 1, not a traceback."""

import sys
from collections.abc import Callable


def run(main: Callable[..., None], *arguments: str) -> None:
    """Run a stage's main; its ValueErrors are messages to people."""
    try:
        main(*arguments)
    except ValueError as error:
        sys.exit(f"error: {error}")
