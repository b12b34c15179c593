"""What each ingredient of the retrieval solution is worth (Wilcoxon over queries); see bench/seeded.py.

python -m bench.retrieval_seeds         (about 4 minutes a seed on 2 quiet cores)
"""

from bench.seeded import Table
from clipworks.retrieval.table import signed_rank

TABLE = Table(
    name="retrieval",
    figure="mAP@10",
    paired="data/evaluate/ap.parquet",
    test=signed_rank,
    more={
        "cars": "mAP@10_cars",
        "persons": "mAP@10_persons",
        "by their script": "mAP@10_script",
        "validation": "validation",
    },
)

if __name__ == "__main__":
    TABLE.make()
