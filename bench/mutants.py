"""Whether the tests notice faults: break the library in one place, run its tests, count who objects.

A line that is covered may still be unchecked; only a test that fails on wrong code protects it. A
fault is a small slip of the pen (`<` for `<=`, a constant off by one, `and` for `or`), made in the
syntax tree of one module. Everything heavy is imported once; each mutant is a fork of that process.
What survives is printed with its place; EQUIVALENT lists what no test can see, and why.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch

import clipworks.kit.torchvision_ops  # noqa: F401  (before anything imports torchvision)
from bench.faults import ROOT, Mutant, mutants

# The tests that protect each module, the quickest and most telling first.
TESTS = {
    "tuning.losses": ["losses"],
    "clip.scoring": ["scoring"],
    "fusion.weighing": ["fusion", "ensemble"],
    "fusion.recipes": ["ensemble"],
    "fusion.routing": ["ensemble"],
    "tuning.selection": ["selection"],
    "tuning.captions": ["captions", "held_out"],
    "tuning.hard": ["selection"],
    "tuning.heldout": ["held_out"],
    "tuning.objective": ["objective"],
    "windows.boxes": ["windows"],
    "windows.crops": ["crops"],
    "windows.visual_pass": ["visual_pass", "inference"],
    "windows.shards": ["shards", "features_kept"],
    "kit.checkpoint": ["checkpoint"],
    "kit.metrics": ["metrics"],
    "writing.rules": ["rules", "text"],
    "writing.labels": ["labels", "text"],
    "writing.filtering": ["filtering"],
}
# Module, part of the source line, the fault as printed, and why nothing follows from it.
EQUIVALENT: list[tuple[str, str, str, str]] = [
    ("tuning.selection", "strict=False)", "False -> None", "both are no"),
    ("tuning.losses", "ordered == -torch.inf, 0.0)", "0.0 -> -1.0", "what stands behind the negatives is never gathered"),
    ("tuning.captions", "len(selected) // 50_000", "50000 -> 49999", "the size of a part, not of the whole"),
    ("tuning.captions", "len(selected) // 50_000", "50000 -> 50001", "the size of a part, not of the whole"),
    ("tuning.losses", "ordered.masked_fill(", "0.0 -> 1.0", "what stands behind the negatives is never gathered"),
    ("windows.shards", "boxes(10_000", "10000 -> 10001", "as many windows: their number depends on proportions"),
    ("windows.shards", "boxes(10_000", "10000 -> 9999", "as many windows: their number depends on proportions"),
    ("windows.boxes", "room // 2", "2 -> 3", "there is one step only where no room is left: 0"),
    ("windows.boxes", "room // 2", "2 -> 1", "there is one step only where no room is left: 0"),
    ("windows.boxes", "columns, rows = columns * rows, 1", "1 -> 2", "both rows begin at 0, and windows are distinct"),
    ("windows.crops", "images.shape[-2:] == (height, width)", "2 -> 1", "resizing to the own size changes no pixel"),
    ("tuning.selection", "torch.tensor([[49406, 49407]]", "49406 -> 49407", "only the size of the feature is read"),
    ("tuning.selection", "torch.tensor([[49406, 49407]]", "49406 -> 49405", "only the size of the feature is read"),
    ("windows.visual_pass", "4 * self.tower.at_once", "4 * self.tower.at_once -> 4 / self.tower.at_once", "fewer images wait together; the same logits"),
    ("windows.visual_pass", '"offsets": torch.tensor([0,', "0 -> -1", "only differences of offsets are read"),
    ("windows.visual_pass", '"offsets": torch.tensor([0,', "0 -> 1", "only differences of offsets are read"),
]  # fmt: skip
MEMORY = 12 * 2**30  # bytes of address space: a list that never ends must not take the machine


class Broken:
    """Plugin of pytest and finder of modules: hands out the mutant in place of its module.

    The loader that others would have used still compiles it, so that shapes are checked in it too.
    """

    def __init__(self, module: str, code: str) -> None:
        self._name, self._code = f"clipworks.{module}", code

    def pytest_sessionstart(self) -> None:
        """Go before the finder that checks shapes, which pytest's own options have installed."""
        sys.meta_path.insert(0, self)  # type: ignore[arg-type]

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """The module's own spec with another way to run it."""
        if name != self._name:
            return None
        finders = (f for f in sys.meta_path if f is not self)
        spec = next(filter(None, (f.find_spec(name, path, target) for f in finders)))
        loader: Any = spec.loader

        def run(module: ModuleType) -> None:
            exec(loader.source_to_code(self._code.encode(), spec.origin), vars(module))

        loader.exec_module = run
        return spec


def equivalent(mutant: Mutant) -> bool:
    """Whether the table says that no test can see it."""
    return any(
        module == mutant.module and line in mutant.source and fault == mutant.fault
        for module, line, fault, _ in EQUIVALENT
    )


def child(module: str, code: str | None, seconds: int | None) -> None:
    """Run the tests of a module in this fork; the exit status is pytest's."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if seconds:  # of processor time: that a machine is busy is nobody's fault
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    for name in [name for name in sys.modules if name.split(".")[0] == "clipworks"]:
        del sys.modules[name]
    tests = [f"tests/test_{name}.py" for name in TESTS[module]]
    with tempfile.TemporaryDirectory() as folder:
        options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", f"--basetemp={folder}/t"]
        plugins = [Broken(module, code)] if code else []
        status = pytest.main([*options, *tests], plugins=plugins)
    os._exit(int(status))


def passes(module: str, code: str | None = None, seconds: int | None = None) -> bool:
    """Whether the tests of a module pass; a hang is a failure."""
    work = multiprocessing.get_context("fork").Process(target=child, args=(module, code, seconds))
    work.start()
    work.join(600)
    if work.is_alive():
        work.kill()
        work.join()
    return work.exitcode == 0


def main() -> None:
    """Print the survivors of a sample, and the share that the tests caught."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=150, help="how many mutants, at random")
    parser.add_argument("--module", choices=sorted(TESTS), help="of this module alone")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    modules = [chosen.module] if chosen.module else list(TESTS)
    found = [m for name in modules for m in mutants(name) if not equivalent(m)]
    sample = random.Random(chosen.seed).sample(found, min(chosen.sample, len(found)))
    sample.sort(key=lambda m: (modules.index(m.module), m.line))
    for name in (*(f"clipworks.{name}" for name in TESTS), "clipworks.tuning.training"):
        importlib.import_module(name)
    limits: dict[str, int] = {}
    caught = 0
    for mutant in sample:
        if mutant.module not in limits:
            start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            if not passes(mutant.module):
                raise SystemExit(f"the tests of {mutant.module} fail on the code as it is")
            spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start
            limits[mutant.module] = 4 * int(spent + 1)
        if passes(mutant.module, mutant.code, limits[mutant.module]):
            place = f"clipworks/{mutant.module.replace('.', '/')}.py:{mutant.line}"
            print(f"{place}: {mutant.fault}\n    {mutant.source}", flush=True)
        else:
            caught += 1
    share = round(caught / max(len(sample), 1), 4)
    print(json.dumps({"mutants": len(sample), "caught": caught, "share": share}))


if __name__ == "__main__":
    main()
