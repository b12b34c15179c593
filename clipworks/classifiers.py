"""All models that score images together: hand prompts and tuned ones, as one scorer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from clipworks import hand, scoring
from clipworks.backbone import Backbone
from clipworks.prompts import load
from clipworks.scorer import Scorer


@torch.inference_mode()
def assemble(
    clip: Backbone,
    class_names: Sequence[str],
    groups: Sequence[tuple[str, ...]],
    tuned: Mapping[str, Path],
) -> Scorer:
    """Class features of the hand baselines and of every tuned model.

    The three hand baselines see the image alone; a fourth, 80 templates, has the captions blended
    in as the tuned models have, to take the windows as they take them.

    Args:
        groups: the composed combinations, for the compound baseline.
        tuned: prompts files by model name.
    """
    classes = {
        "hand": hand.one_template(clip, class_names),
        "hand80": hand.eighty_templates(clip, class_names),
        "compound": hand.compound(clip, class_names, groups),
    }
    plain = tuple(classes)
    classes["hand80_blended"] = classes["hand80"]
    scales = dict.fromkeys(classes, (scoring.GLOBAL_SCALE, scoring.SPATIAL_SCALE))
    for name, path in tuned.items():
        prompts = load(path, clip, class_names)
        classes[name] = prompts(clip.model)
        scales[name] = (float(prompts.global_scale), float(prompts.spatial_scale))
    return Scorer.of(classes, scales, plain)
