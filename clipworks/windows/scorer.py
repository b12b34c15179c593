"""All models that score images together: hand prompts and tuned ones, their class features side by
side, so that a batch is scored in one product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipworks.clip import hand, scoring
from clipworks.clip.backbone import Backbone
from clipworks.kit.shapes import Float
from clipworks.tuning.prompts import load


@dataclass(frozen=True)
class Scorer:
    """Class features of several models, side by side, so that a batch is scored in one product."""

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    globals: Float[Tensor, "column dim"]  # column = model · classes + class
    locals: Float[Tensor, "column dim"]
    evidence: Float[Tensor, "column dim"]  # the local features again where a model has no evidence
    has_evidence: Float[Tensor, " model"]
    global_scale: Float[Tensor, " model"]
    spatial_scale: Float[Tensor, " model"]

    @staticmethod
    def of(
        models: dict[str, dict[str, Tensor]],
        class_names: Sequence[str],
        scales: dict[str, tuple[float, float]],
    ) -> "Scorer":
        """From class features by model and kind, each of shape (class, dim), and their scales."""
        features = list(models.values())
        return Scorer(
            names=tuple(models),
            class_names=tuple(class_names),
            globals=torch.cat([f["global"] for f in features]),
            locals=torch.cat([f["local"] for f in features]),
            evidence=torch.cat([f.get("evidence", f["local"]) for f in features]),
            has_evidence=torch.tensor([float("evidence" in f) for f in features]),
            global_scale=torch.tensor([scales[name][0] for name in models]),
            spatial_scale=torch.tensor([scales[name][1] for name in models]),
        )

    def to(self, device: torch.device) -> "Scorer":
        """The same on a device."""
        tensors: dict[str, Any] = {
            k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)
        }
        return replace(self, **tensors)

    def score(
        self,
        pooled: Float[Tensor, "window dim"],
        blended: Float[Tensor, "window dim"],
        dense: Float[Tensor, "window position dim"],
    ) -> Float[Tensor, "window 3 model class"]:
        """Logits of every window for every model: global, local, and global without captions."""
        shape = (len(self.names), len(self.class_names))
        scale = self.global_scale[:, None]
        glob, alone = ((x @ self.globals.T).unflatten(-1, shape) * scale for x in (blended, pooled))
        similarity = (dense @ self.locals.T).unflatten(-1, shape)
        spatial = self.spatial_scale[:, None]
        where = similarity
        if self.has_evidence.any():
            where = (dense @ self.evidence.T).unflatten(-1, shape)
            winners = scoring.winner_takes_all(similarity, spatial)
            similarity = torch.where(self.has_evidence[:, None] > 0, winners, similarity)
        weight = (spatial * where).softmax(dim=1)
        local = (similarity * weight).sum(dim=1) * scale
        return torch.stack([glob, local, alone], dim=1)


@torch.inference_mode()
def assemble(
    clip: Backbone,
    class_names: Sequence[str],
    groups: Sequence[tuple[str, ...]],
    tuned: Mapping[str, Path],
    device: torch.device | None = None,
) -> Scorer:
    """Class features of the hand baselines and of every tuned model.

    Args:
        groups: the composed combinations, for the compound baseline.
        tuned: prompts files by model name.
        device: what reads the hand prompts; where the CLIP is, unless told.
    """
    classes = {
        "hand": hand.one_template(clip, class_names),
        "hand80": hand.eighty_templates(clip, class_names, device),
        "compound": hand.compound(clip, class_names, groups, device),
    }
    scales = dict.fromkeys(classes, (scoring.GLOBAL_SCALE, scoring.SPATIAL_SCALE))
    for name, path in tuned.items():
        prompts = load(path, clip, class_names)
        classes[name] = prompts(clip.model)
        scales[name] = (float(prompts.global_scale), float(prompts.spatial_scale))
    return Scorer.of(classes, class_names, scales)
