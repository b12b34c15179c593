"""Let torchvision import beside a CPU build of torch.

The only torchvision wheel on the package index is built for CUDA. Beside a CPU build of torch its
compiled operators do not load, and `import torchvision` then fails while it registers the meta
kernels of `nms` ("operator torchvision::nms does not exist"). Declaring the two schemas is enough:
nothing in this project calls them. Import this module before torchvision, open_clip or timm.
"""

import torch
from torch import library

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare_missing_ops() -> library.Library | None:
    """Declare the schemas that torchvision expects, unless its compiled operators provide them.

    Returns:
        The library that owns the declarations (they vanish when it is garbage-collected), or None
        where the installed torchvision brings its own.
    """
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    try:
        for binary in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(binary))
    except OSError:  # built against CUDA libraries that a CPU build of torch does not have
        pass
    missing = [
        schema for name, schema in SCHEMAS.items() if not hasattr(torch.ops.torchvision, name)
    ]
    if not missing:
        return None
    owner = library.Library("torchvision", "FRAGMENT")
    for schema in missing:
        owner.define(schema)
    return owner


_LIBRARY = declare_missing_ops()
