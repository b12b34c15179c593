"""Every request and its raw reply, kept outside DVC's outputs: nobody is asked the same twice.

SQLite does the keeping: a reply is there wholly or not at all, whenever the process is killed, and
each is committed at once, so a kill loses only what was still being answered.
"""

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from clipworks.chat.request import REFUSED, Engine, Reply, Request
from clipworks.kit.cli import disk_is_full
from clipworks.kit.errors import InputError

SCHEMA = """create table if not exists replies (
    key text primary key, request text not null, engine text not null, reply text not null
)"""
IN_A_ROW = 64  # failures after which a server is taken to be gone
MANY = 20  # requests, of which one in a hundred may be refused
LOOK_UP = 500  # keys per query, below SQLite's limit of variables


class Journal:
    """An append-only store of replies by request hash."""

    def __init__(self, path: Path) -> None:
        """Raises InputError where the file is damaged, or its disk cannot keep a database."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.asked = 0  # requests that went to an engine through this object
        with self._whole():
            # Runs side by side (`dvc queue start -j 2`) wait for each other's commits.
            self._connection = sqlite3.connect(path, timeout=60)
            # Write-ahead: a commit is one append, safe against a killed process.
            self._connection.execute("pragma journal_mode = wal")
            self._connection.execute("pragma synchronous = normal")
            self._connection.execute(SCHEMA)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Raises InputError where the database cannot be used; `kit.cli` tells of a full disk."""
        try:
            yield
        except sqlite3.Error as error:
            if disk_is_full(error):
                raise
            if "locked" in str(error) or "readonly" in str(error):
                raise InputError(
                    f"{self.path}: the journal of replies cannot be written ({error}); wait for the other run, or "
                    "see to the file's permissions"
                ) from None
            raise InputError(
                f"{self.path}: the journal of replies cannot be used ({error}); put a copy of it there, or move it "
                "away: what it kept would be asked again"
            ) from None

    def close(self) -> None:
        """Commit and close."""
        with self._whole():
            self._connection.commit()
        self._connection.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._connection.execute("select count(*) from replies").fetchone()[0])

    def get(self, keys: Sequence[str]) -> dict[str, Reply]:
        """The replies that are known among these keys.

        Raises:
            InputError: the file is damaged.
        """
        found = {}
        for start in range(0, len(keys), LOOK_UP):
            part = keys[start : start + LOOK_UP]
            marks = ",".join("?" * len(part))
            query = f"select key, reply from replies where key in ({marks})"
            with self._whole():
                for key, reply in self._connection.execute(query, part):
                    found[key] = Reply(**json.loads(reply))
        return found

    def put(self, key: str, request: Request, engine: dict[str, str], reply: Reply) -> None:
        """Keep a reply; the first one stays."""
        row = (
            key,
            *(
                json.dumps(value, ensure_ascii=False, default=dict)
                for value in (asdict(request), engine, asdict(reply))
            ),
        )
        with self._whole():
            self._connection.execute("insert or ignore into replies values (?, ?, ?, ?)", row)

    def ask(self, engine: Engine, requests: Sequence[Request], *, label: str) -> list[Reply]:
        """The replies to all requests, in their order; only unknown ones reach the engine.

        A reply without a word is passed on and not kept: a server that was set up wrongly gives such.

        Raises:
            InputError: requests failed for good (finish "error"), or no reply held a word. All others
                are kept, so that a later run asks only for those.
        """
        keys = [request.key(engine.identity) for request in requests]
        known = self.get(sorted(set(keys)))
        new = {
            key: request for key, request in zip(keys, requests, strict=True) if key not in known
        }
        order = list(new)
        failed: list[str] = []
        wanted = len(set(keys))
        row = 0  # failures since the last reply
        replied = len(new) < wanted  # once: requests can be answered as they are made
        answers: Iterator[tuple[int, Reply]] = (
            engine.answer(list(new.values())) if new else iter(())
        )
        with tqdm(
            total=len(order), desc=label, unit="reply", mininterval=1, disable=not order
        ) as bar:
            for index, reply in answers:
                key = order[index]
                known[key] = reply
                self.asked += 1
                if reply.finish == "error":
                    failed.append(key)
                    # One request may be refused for what it says; all of them, for how they are made.
                    row += reply.lost or not replied
                    if row == IN_A_ROW:
                        break
                    continue
                row, replied = 0, True
                if reply.text.strip() or reply.finish == "refused":
                    self.put(key, new[key], engine.identity, reply)
                    with self._whole():
                        self._connection.commit()
                bar.update()
        few = wanted >= MANY and len(failed) <= math.ceil(wanted / 100)
        if failed and few and row < IN_A_ROW and not any(known[key].lost for key in failed):
            print(
                f"warning: {label}: the server refuses {len(failed)} of {len(order)} requests "
                f"({known[failed[0]].text}); they go without a reply; `dvc repro -f -s` of this stage asks them again"
            )
            known |= dict.fromkeys(failed, REFUSED)
        elif failed:
            many = f"{len(failed)} of {len(order)} requests failed"
            many = f"{IN_A_ROW} requests in a row failed" if row == IN_A_ROW else many
            raise InputError(
                f"{label}: {many} ({known[failed[0]].text}); what was answered is kept: see to the cause and "
                "run again to ask the rest"
            )
        if lost := [key for key in order if key not in known]:
            raise RuntimeError(f"the engine left {len(lost)} of {len(order)} requests unanswered")
        if order and not any(known[k].text.strip() or known[k].finish == "refused" for k in keys):
            raise InputError(
                f"{label}: no word stands in any of {len(order)} replies; see to the server's chat template and "
                "its limits (max_tokens; chat.openai.no_thinking for a model that thinks), and run again"
            )
        if empty := sum(
            not known[key].text.strip() and known[key].finish != "refused" for key in order
        ):
            print(
                f"warning: {label}: {empty} of {len(order)} replies hold no word; they are not kept"
            )
        return [known[key] for key in keys]
