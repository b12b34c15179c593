"""Windows, and what is kept of them."""

from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field, model_validator

from clipworks.kit.errors import InputError
from clipworks.kit.params import AtLeastOne, Count, NotNegative, Once, Positive, Section, Share

Way = Literal["crops", "maps"]
Precision = Literal["fp32", "bf16", "fp16"]


def way_named(name: str) -> Way:
    """A way of seeing by its name on the command line.

    Raises:
        InputError: there is no such way.
    """
    for way in get_args(Way):
        if way == name:
            return cast(Way, way)
    raise InputError(f"name a way of seeing, one of {', '.join(get_args(Way))}; not {name!r}")


class Maps(Section):
    """How windows are read off maps."""

    resolution: Annotated[
        Positive, Field(le=16)
    ]  # a window's side on its map, as a multiple of the tower's input
    density: Annotated[
        Positive, Field(le=16)
    ]  # points that are read of a window, for each cell of its side
    tolerance: NotNegative  # windows whose sides differ by no more share a map

    def samples(self, size: int, stride: int) -> int:
        """Points a side that are read of a window, for a tower that takes `size` pixels and whose
        cells have `stride`."""
        return max(1, round(self.density * self.resolution * size / stride))


class Infer(Section):
    """Windows, and what is kept of them."""

    windows: Annotated[list[Way], Once]  # an instance of the stage for each
    maps: Maps

    scales: Annotated[list[Annotated[int, Field(ge=2, le=16)]], Once]
    positional: bool
    nearest_captions: AtLeastOne
    batch_size: AtLeastOne
    precision: Precision
    store: Literal["float32", "float16"]
    images_per_shard: AtLeastOne
    max_pixels: Annotated[int, Field(ge=10_000, le=10_000_000_000)]
    max_bad_share: Share
    keep_features_MiB: Count  # for each split; a retrained model starts from what fits

    def of(self, way: Way) -> dict[str, Any]:
        """What the shards of one way depend on.

        The share of bad images is judged at the end: to allow more must not score them all again.
        """
        unread = {"max_bad_share", *(() if way == "maps" else ("maps",))}
        return {**self.model_dump(exclude=unread), "windows": way}

    @model_validator(mode="after")
    def _no_places(self) -> "Infer":
        if "crops" not in self.windows:
            raise InputError("windows: crops are needed (the authors' rows); add maps beside them")
        if "maps" in self.windows and self.positional:
            raise InputError(
                "positional: true needs crops: a window that is read off a map has no place of its "
                "own; set infer.positional=false or infer.windows=[crops]"
            )
        return self
