"""Every long stage killed at random moments, and met by a full disk: the same bytes in the end.

    python -m bench.crash                          # all of it: half an hour
    python -m bench.crash --kills 3 caption infer@crops  # as tests/test_crash.py does

Works on a thimble world (tests/thimble.py), where a kill costs seconds. Stages are forks of this
process, which has imported them already, so that kills meet their work and not their imports. A
killed stage is run again as it lies there, half outputs and all. Prints one line a stage, and
everything as JSON in the last line.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bench import forks
from tests import thimble

LONG = (
    "backbone", "compose", "caption", "filter", "encode_captions",
    *(stage for stage in thimble.STAGES if stage.startswith("train@")),
    "infer@crops", "infer@maps", "ensemble", "evaluate",
)  # fmt: skip
UNDER_DVC = ("filter", "train@ema", "infer@crops")


def outs(folder: Path, stage: str) -> list[Path]:
    """What a stage writes, as dvc.yaml says."""
    name, _, model = stage.partition("@")
    body = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"][name]
    body = body.get("do", body)
    listed = [*body["outs"], *body.get("metrics", [])]
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in listed]
    return [folder / path.replace("${key}", model).replace("${item}", model) for path in paths]


class Harness:
    """A finished thimble world, and a copy of it in which stages are killed."""

    def __init__(self, finished: Path, work: Path, log: Path, chance: random.Random) -> None:
        shutil.copytree(finished, work, symlinks=True, dirs_exist_ok=True)
        self._finished, self._work, self._log, self._chance = finished, work, log, chance
        self._truth = thimble.outputs(finished)

    def kill(self, stage: str, kills: int) -> dict[str, int]:
        """Kill a stage until it has died so often; it comes to its end in between and after."""
        done = began = finishes = again = 0  # began: kills when it last began anew
        longest = self._seconds(stage)
        self._forget(stage)
        while done < kills or finishes == 0 or began < done:
            patience = self._chance.uniform(0, longest) if done < kills else None
            start = time.perf_counter()
            code = forks.run(self._work, stage, self._log, seconds=patience)
            if code is None:
                done += 1
                continue
            if began == done:  # it was quicker than its kill
                longest = max(longest, 1.05 * (time.perf_counter() - start))
            self._check(stage, code, done - began)
            finishes, again = finishes + 1, again + forks.asked_again(self._log)
            self._forget(stage)
            began = done
        self._restore(stage)
        return {"kills": done, "finishes": finishes, "asked_again": again}

    def fill(self, stage: str, disk: forks.Disk) -> None:
        """Let a stage run out of disk on its way, then make room and let it go on."""
        self._forget(stage)
        needed = sum(map(forks.size, outs(self._finished, stage)))
        disk.leave(int(self._chance.uniform(0.1, 0.9) * needed))
        code = forks.run(self._work, stage, self._log)
        text = self._log.read_text()
        if code != 1 or "error: the disk is full; make room" not in text or "Traceback" in text:
            raise SystemExit(f"{stage}: ends with {code} on a full disk:\n{text[-2000:]}")
        disk.make_room()
        # The answer that came when it could no longer be stored is asked for again.
        self._check(stage, forks.run(self._work, stage, self._log), 1)

    def _check(self, stage: str, code: int | None, kills: int) -> None:
        """Everything is as if nothing had happened, and nothing waits in scratch."""
        if code != 0:
            raise SystemExit(f"{stage}: ends with {code}:\n{self._log.read_text()[-2000:]}")
        found = thimble.outputs(self._work)
        names = sorted(found.keys() | self._truth.keys())
        if odd := [name for name in names if found.get(name) != self._truth.get(name)]:
            raise SystemExit(f"{stage}: other bytes after {kills} kills in {odd}")
        scratch = self._work / "scratch"
        left = [path for path in scratch.rglob("*") if path.is_file()]
        # Features of windows stay on purpose: a retrained model starts from them.
        if left := [path for path in left if scratch / "features" not in path.parents]:
            raise SystemExit(f"{stage}: left behind {left}")
        if (again := forks.asked_again(self._log)) > kills:  # at most what was open at each kill
            raise SystemExit(f"{stage}: {again} questions asked again after {kills} kills")

    def _forget(self, stage: str) -> None:
        """Take away what a stage wrote, its journal, and what it kept to go on from."""
        journal = (self._work / "journal").glob(f"{stage}.sqlite*")
        notes = self._log.with_suffix(".asked")
        for path in (*outs(self._work, stage), *journal, self._work / "scratch", notes):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _seconds(self, stage: str) -> float:
        """How long a stage takes undisturbed, as far as it is known."""
        noted = self._finished / f"metrics/runtime/{stage.replace('@', '_')}.json"
        return max(1.0, json.loads(noted.read_text())["seconds"] if noted.exists() else 0.0)

    def _restore(self, stage: str) -> None:
        """A stage's outputs as they were, for those that follow."""
        for there, here in zip(outs(self._finished, stage), outs(self._work, stage), strict=True):
            here.parent.mkdir(parents=True, exist_ok=True)
            if there.is_dir():
                shutil.copytree(there, here, dirs_exist_ok=True)
            else:
                shutil.copyfile(there, here)


def under_dvc(folder: Path, chance: random.Random) -> int:
    """Kill `dvc repro` with its stage: what is half is never recorded, and the next run mends it.

    That run may restore the stage from DVC's cache instead of running it. Then a draft of a table may
    stay, beside the outputs and unseen by DVC and Git, until the stage runs again; all else is as it was.

    Returns:
        how many were killed; others were quicker.
    """
    truth = _finished(folder)
    for ignored in folder.glob("data/*/.gitignore"):
        ignored.unlink()  # DVC writes them anew
    thimble.run(folder, "git", "init", "-q", "-b", "main")
    thimble.run(folder, "dvc", "commit", "-f")
    thimble.commit(folder, "finished")
    killed = 0
    for stage in UNDER_DVC:
        out = outs(folder, stage)[0]  # DVC takes it away just before the stage begins
        killed += forks.kill_dvc(folder, stage, out, chance.uniform(2, 8))
        thimble.run(folder, "dvc", "repro", "-q")
        found = _finished(folder)
        if odd := sorted(k for k in {*found, *truth} if found.get(k) != truth.get(k)):
            raise SystemExit(f"{stage}: other bytes after a killed dvc repro: {odd[:5]}")
        status = thimble.run(folder, "dvc", "status") + thimble.run(folder, "git", "status", "-s")
        if "up to date" not in status or len(status.splitlines()) > 1:
            raise SystemExit(f"{stage}: not clean after a killed dvc repro:\n{status}")
    return killed


def _finished(folder: Path) -> dict[str, str]:
    return {k: v for k, v in thimble.outputs(folder).items() if not k.endswith(".tmp")}


def world(folder: Path, log: Path) -> Path:
    """A thimble world, finished; ema trains two epochs, so that there is one to go on from."""
    thimble.copy(folder)
    thimble.set_params(folder, {"train.ema.schedule.stop": 2})
    for stage in thimble.STAGES:
        if code := forks.run(folder, stage, log):
            raise SystemExit(f"{stage}: ends with {code}:\n{log.read_text()[-2000:]}")
    return folder


def crash(stages: Sequence[str], finished: Path | None, kills: int, seed: int) -> dict[str, Any]:
    """Kill stages; in the long form (without a finished world) fill the disk and try DVC too."""
    chance = random.Random(seed)
    found: dict[str, Any] = {"kills": 0, "same": False, "stages": {}}
    with tempfile.TemporaryDirectory(prefix="crash") as name:
        top = Path(name)
        log = top / "log.txt"
        forks.preload(thimble.STAGES if finished is None else stages)
        truth = finished or world(top / "finished", log)
        harness = Harness(truth, top / "work", log, chance)
        for stage in stages:
            start = time.perf_counter()
            found["stages"][stage] = harness.kill(stage, kills)
            found["kills"] += kills
            seconds = time.perf_counter() - start
            print(f"{stage}: {found['stages'][stage]} in {seconds:.0f} s", flush=True)
        if finished is None:
            with forks.Disk(top / "small") as disk:
                found["full_disk"] = "mounting is not permitted" if not disk.mounted else 0
                small = Harness(truth, top / "small", log, chance) if disk.mounted else None
                for stage in stages if small else ():
                    small.fill(stage, disk)  # type: ignore[union-attr]
                    found["full_disk"] += 1
                    print(f"{stage}: full disk", flush=True)
            found["killed_under_dvc"] = under_dvc(truth, chance)
    found["same"] = True  # else it would have stopped
    return found


def main() -> None:
    """Kill, fill, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", default=LONG, help="all long ones unless named")
    parser.add_argument("--kills", type=int, default=20, help="of each stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finished", type=Path, help="a finished thimble world; it stays as it is")
    options = parser.parse_args()
    print(json.dumps(crash(options.stages, options.finished, options.kills, options.seed)))


if __name__ == "__main__":
    main()
