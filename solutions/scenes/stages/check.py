"""Stop what cannot work before anything expensive begins: params.yaml as a whole."""

from pathlib import Path

from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.scenes import check

OUT = Path("data/check/passed.json")


def main() -> None:
    """Check params.yaml, the files it names and this machine.

    The output is the same for all params that pass, so that passing reruns nothing.
    """
    check.check(check.load())
    tables.write_json(OUT, {"params.yaml": "passed"})
    print("check: params.yaml can be run")


if __name__ == "__main__":
    stage(main)
