"""How every stage ends: a bad input is one clear message and exit status 1, not a traceback."""

import errno
import sys
from collections.abc import Callable

from clipworks.kit.errors import InputError


def run(main: Callable[..., None], *arguments: str) -> None:
    """Run a stage's main; an InputError is a message to people, anything else a fault."""
    try:
        main(*arguments)
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(
            "error: the disk is full; make room (`dvc gc -w` drops what no commit needs) and run again"
        )
