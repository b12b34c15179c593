"""Stop what cannot work before anything expensive begins: params.yaml as a whole."""

from pathlib import Path

from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.settings import check, whole

OUT = Path("data/check/passed.json")


def main() -> None:
    """Check params.yaml, the files it names and this machine; print warnings.

    The output is the same for all params that pass, so that passing reruns nothing.
    """
    warnings = check.check(whole.load())
    for warning in warnings:
        print(f"check: warning: {warning}")
    tables.write_json(OUT, {"params.yaml": "passed"})
    print(f"check: params.yaml can be run, {len(warnings)} warnings")


if __name__ == "__main__":
    stage(main)
