"""How every stage ends: a bad input is one clear message and exit status 1, not a traceback."""

import errno
import inspect
import re
import shutil
import sys
from collections.abc import Callable

from clipworks.kit.errors import InputError, brief

# Libraries in C and Rust (safetensors, SQLite, numpy) say it in words of their own, without a number.
_FULL = re.compile(r"no space left|disk is full|\d+ requested and \d+ written", re.IGNORECASE)


def stage(main: Callable[..., None]) -> None:
    """Run a stage's main with the words of the command line, of which it takes none or one."""
    words, most = sys.argv[1:], len(inspect.signature(main).parameters)
    if len(words) > most:
        sys.exit(
            f"error: {' '.join(words[most:])!r} would not be read; settings stand in params.yaml "
            "(dvc exp run -S section.key=value)"
        )
    run(main, *words)


def run(main: Callable[..., None], *arguments: str) -> None:
    """Run it; an InputError is a message to people, anything else a fault."""
    try:
        main(*arguments)
    except InputError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if memory_is_full(error):
            sys.exit(
                f"error: the GPU's memory is full ({brief(error)}); take a smaller batch_size (--batch-size), or end what "
                "else uses it, and run again: what is finished stays"
            )
        if not disk_is_full(error):
            raise
        free = shutil.disk_usage(".").free / 2**30
        sys.exit(
            f"error: the disk is full ({brief(error)}; this folder's has {free:,.1f} GiB free); make room here (`dvc gc -A "
            "--all-experiments` drops what no commit and no experiment needs), or where the output goes if that is "
            "another disk, and run again"
        )


def memory_is_full(error: Exception) -> bool:
    """Whether that is what an error of torch means."""
    torch = sys.modules.get("torch")  # it takes seconds to import, and then it raised none
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def disk_is_full(error: Exception) -> bool:
    """Whether that is what an error of the system, of SQLite or of a library's means."""
    number = error.errno if isinstance(error, OSError) else None
    if "disk I/O error" in str(error):  # SQLite's word for this and for worse
        return shutil.disk_usage(".").free < 2**20
    return number in (errno.ENOSPC, errno.EDQUOT) or bool(_FULL.search(str(error)))
