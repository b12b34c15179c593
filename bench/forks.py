"""Stages as forks that can be killed at once, and a disk that can be full."""

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clipworks.chat.request import Reply, Request
from clipworks.kit import cli
from clipworks.miniature.grammar import GrammarEngine

CHAT = ("compose", "caption", "filter")
HEAVY = ("inflect", "lemminflect", "spellchecker")  # which stages import late
TICK = 0.002  # seconds


def preload(stages: Sequence[str]) -> None:
    """Import what stages need, once, before any fork."""
    for name in (*{f"stages.{stage.partition('@')[0]}" for stage in stages}, *HEAVY):
        importlib.import_module(name)


def run(folder: Path, stage: str, log: Path, *, seconds: float | None = None) -> int | None:
    """Run a stage in a process group of its own, and kill all of that after some seconds.

    Returns:
        its exit status, or None where it was killed. What it printed is in `log`.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _stage(folder, stage, log)
    deadline = time.perf_counter() + seconds if seconds is not None else float("inf")
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.perf_counter() >= deadline:
            with contextlib.suppress(ProcessLookupError):  # it has no group of its own yet
                os.killpg(child, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            killed = os.WIFSIGNALED(status)
            return None if killed else os.waitstatus_to_exitcode(status)
        time.sleep(TICK)


def _stage(folder: Path, stage: str, log: Path) -> None:
    """What the fork does: a stage's main, as `python -m stages.NAME` would."""
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(folder)
    name, _, model = stage.partition("@")
    module = importlib.import_module(f"stages.{name}")
    if name in CHAT:
        vars(module)["GrammarEngine"] = lambda: Slow(log.with_suffix(".asked"))
    code = 0
    try:
        cli.run(module.main, *([model] if model else []))
    except SystemExit as end:
        print(end, file=sys.stderr)
        code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def kill_dvc(folder: Path, stage: str, out: Path, seconds: float) -> bool:
    """Run a stage by DVC, and kill both some seconds after DVC took its output away; whether that
    came before the end."""
    process = subprocess.Popen(
        ["dvc", "repro", "-q", "-f", "-s", stage],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while out.exists() and process.poll() is None:
        time.sleep(TICK)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


class Slow:
    """The offline engine, with the patience of a real one; it notes every answer that it gives."""

    def __init__(self, notes: Path) -> None:
        self._engine = GrammarEngine()
        self._notes = notes
        self.identity: dict[str, str] = self._engine.identity

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """The stand-in's answers, one by one."""
        with self._notes.open("a") as notes:
            for index, reply in self._engine.answer(requests):
                time.sleep(0.001)
                notes.write(requests[index].key(self.identity) + "\n")
                notes.flush()
                yield index, reply


def asked_again(log: Path) -> int:
    """Answers that an engine gave more than once since its notes were begun."""
    notes = log.with_suffix(".asked")
    keys = notes.read_text().split() if notes.exists() else []
    return len(keys) - len(set(keys))


class Disk:
    """A small disk in memory, mounted at a folder; where mounting is not permitted, `mounted` is
    False."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.mounted = self._mount("size=512m")

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def leave(self, free: int) -> None:
        """Leave so many bytes (at least) of free space."""
        about = shutil.disk_usage(self._folder)
        self._mount(f"remount,size={about.used + free}")

    def make_room(self) -> None:
        """All the space there was."""
        self._mount("remount,size=512m")

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *exc: Any) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self._folder)], capture_output=True, check=False)


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
