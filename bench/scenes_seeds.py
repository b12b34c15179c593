"""What each trick of the scene solution is worth (McNemar over pictures); see bench/seeded.py.

python -m bench.scenes_seeds            (about 2 minutes a seed on 2 quiet cores)
"""

from bench.seeded import Table
from clipworks.scenes.statistics import mcnemar

TABLE = Table(name="scenes", figure="accuracy", paired="data/evaluate/right.parquet", test=mcnemar)

if __name__ == "__main__":
    TABLE.make()
