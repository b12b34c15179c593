"""Windows, and what is kept of them."""

from typing import Annotated, Literal

from pydantic import Field

from clipworks.kit.params import AtLeastOne, Section, Share

Precision = Literal["fp32", "bf16", "fp16"]


class Infer(Section):
    """Windows, and what is kept of them."""

    scales: list[Annotated[int, Field(ge=2)]]
    positional: bool
    nearest_captions: AtLeastOne
    batch_size: AtLeastOne
    precision: Precision
    store: Literal["float32", "float16"]
    images_per_shard: AtLeastOne
    max_pixels: AtLeastOne
    max_bad_share: Share
    keep_features: bool
