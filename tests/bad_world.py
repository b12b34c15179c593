"""What the rows of the table of wrong things share: a world to spoil, and the table itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import thimble

MADE: list[Any] = []


class World:
    """As much of the finished thimble world as a row needs; the working folder."""

    def __init__(self, folder: Path, finished: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.finished, self.patch = folder, finished, patch
        self.take("params.yaml", "data/classes", "data/templates")
        patch.chdir(folder)

    def take(self, *names: str) -> None:
        """Copy files and folders of the finished world."""
        for name in names:
            there, here = self.finished / name, self.folder / name
            here.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if there.is_dir() else shutil.copyfile)(there, here)

    def set(self, changes: dict[str, Any]) -> None:
        """Change keys of params.yaml; a change of what is no section stays for the check to find."""
        if changes:
            thimble.set_params(self.folder, changes)

    def put(self, name: str, content: Any) -> Path:
        """Write a file: text, bytes, or what becomes JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def cut(self, name: str, to: float = 0.5) -> Path:
        """Take the end off a file."""
        path = self.folder / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * to)])
        return path

    def other_classes(self, change: Callable[[list[str]], list[str]] = sorted) -> None:
        """Another class list than the finished world's."""
        path = self.folder / "data/classes/miniature.txt"
        path.write_text("\n".join(change(path.read_text().split("\n"))))

    def stage(self, stage: str) -> None:
        """Run a stage."""
        thimble.run_stages(self.folder, (stage,))

    def check(self) -> None:
        """Check params.yaml as a whole."""
        from clipworks.settings import check, whole

        check.check(whole.load())


def wrong(what: str, message: str, **values: Any) -> Callable[[Any], Any]:
    """A row of the table; further values go to what makes it."""

    def row(make: Any) -> Any:
        MADE.append(pytest.param(lambda world: make(world, **values), message, id=what))
        return make

    return row
