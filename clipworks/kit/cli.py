"""How every stage ends: a bad input is one clear message and exit status 1, not a traceback."""

import errno
import re
import shutil
import sys
from collections.abc import Callable

from clipworks.kit.errors import InputError

# Libraries in C and Rust (safetensors, SQLite, numpy) say it in words of their own, without a number.
_FULL = re.compile(r"no space left|disk is full|\d+ requested and \d+ written", re.IGNORECASE)


def run(main: Callable[..., None], *arguments: str) -> None:
    """Run a stage's main; an InputError is a message to people, anything else a fault."""
    try:
        main(*arguments)
    except InputError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if not _disk_is_full(error):
            raise
        sys.exit(
            "error: the disk is full; make room (`dvc gc -w` drops what no commit needs) and run again"
        )


def _disk_is_full(error: Exception) -> bool:
    number = error.errno if isinstance(error, OSError) else None
    if "disk I/O error" in str(error):  # SQLite's word for this and for worse
        return shutil.disk_usage(".").free < 2**20
    return number in (errno.ENOSPC, errno.EDQUOT) or bool(_FULL.search(str(error)))
