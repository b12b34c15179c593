"""A tagger: class features, a recipe and thresholds, in one small file; the CLIP stays where it is.

    from clipworks import Tagger
    tagger = Tagger.load("tagger.safetensors")
    print(tagger.tag(["street.jpg"]))

The recipe is the leaderboard's `recommended` one (clipworks.fusion.rows): for each of several prompt
models, logits of the whole image and of its windows, each standardised over the classes; the highest
window counts six times; the mean over the models. It needs no captions, and one image at a time.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from clipworks.clip import hand, pretrained, scoring
from clipworks.clip.backbone import Backbone
from clipworks.kit import runtime
from clipworks.kit.errors import InputError
from clipworks.kit.places import replacing
from clipworks.kit.tensors import save_file
from clipworks.tagging import store
from clipworks.tagging.eye import Eye, Judged, Seeing
from clipworks.tagging.store import About
from clipworks.tagging.thresholds import PerClass
from clipworks.windows.boxes import Box, boxes
from clipworks.windows.params import Maps
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Cut

UNTUNED = "hand80"  # the model of CLIP's 80 templates


@dataclass(frozen=True)
class Calibration:
    """A way of seeing's thresholds and spreads, see clipworks.tagging.thresholds."""

    thresholds: PerClass
    spread: PerClass
    rule: str


@dataclass(frozen=True)
class Tag:
    """A class that an image shows, and the window that said so."""

    name: str
    probability: float
    box: Box


class Tagger:
    """Tags images by class names; see the module."""

    def __init__(
        self, about: About, scorer: Scorer, calibration: Mapping[str, Calibration], clip: Backbone
    ) -> None:
        self.about, self.scorer, self.calibration = about, scorer, dict(calibration)
        self.clip = clip

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of all logits."""
        return self.about.classes

    @staticmethod
    def of(
        clip: Backbone,
        class_names: Sequence[str],
        *,
        word: str,
        scales: Sequence[int] = (2, 3),
        maps: Maps | None = None,
        tuned: Mapping[str, dict[str, Tensor]] | None = None,
        logit_scales: Mapping[str, tuple[float, float]] | None = None,
        device: torch.device | None = None,
    ) -> "Tagger":
        """From class names: CLIP's 80 templates, and tuned prompts where there are some.

        Args:
            word: how the backbone is named on the command line, to find it again.
            tuned: class features by model, each of shape (class, dim).
            device: what reads the templates; where the CLIP is, unless told.
            logit_scales: of the tuned models: of logits, and of the softmax over an image's parts.
        """
        features = {UNTUNED: hand.eighty_templates(clip, class_names, device), **(tuned or {})}
        plain = (scoring.GLOBAL_SCALE, scoring.SPATIAL_SCALE)
        of_models = {name: (logit_scales or {}).get(name, plain) for name in features}
        about = About(
            version=store.VERSION,
            classes=list(class_names),
            models=list(features),
            scales=list(scales),
            maps=maps or Maps(resolution=1.5, density=1.0, tolerance=0.1),
            backbone=word,
            digest=store.digest(clip),
            thresholds={},
        )
        return Tagger(about, Scorer.of(features, class_names, of_models), {}, clip)

    def with_calibration(self, found: Mapping[str, Calibration]) -> "Tagger":
        """The same with thresholds."""
        both = {**self.calibration, **found}
        rules = {way: one.rule for way, one in both.items()}
        about = self.about.model_copy(update={"thresholds": rules})
        return Tagger(about, self.scorer, both, self.clip)

    def save(self, path: Path) -> None:
        """Write one safetensors file.

        Raises:
            InputError: another file than a tagger lies there.
        """
        store.check_own(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        own: dict[str, Tensor] = {
            k: v for k, v in vars(self.scorer).items() if isinstance(v, Tensor)
        }
        for way, one in self.calibration.items():
            own[f"thresholds.{way}"] = torch.from_numpy(np.float32(one.thresholds))
            own[f"spread.{way}"] = torch.from_numpy(np.float32(one.spread))
        kept = {name: value.cpu().contiguous() for name, value in own.items()}
        with replacing(path) as draft:
            save_file(kept, draft, metadata={"clipworks": self.about.model_dump_json()})

    @staticmethod
    def load(file: str | Path, backbone: str | Backbone | None = None) -> "Tagger":
        """Read a tagger, and the CLIP that it was made with.

        Args:
            backbone: where that CLIP lies by now, where the file's own word does not find it.

        Raises:
            InputError: no tagger file, one whose parts do not fit each other, or another CLIP.
        """
        about, own = store.read(Path(file))
        try:
            clip = (
                backbone
                if isinstance(backbone, Backbone)
                else pretrained.named(about.backbone if backbone is None else backbone)
            )
        except InputError as error:
            if backbone is not None:
                raise
            raise InputError(
                f"{error} ({file} was made with it; --backbone says where it lies now)"
            ) from None
        if store.digest(clip) != about.digest:
            raise InputError(
                f"{file} was made with other weights than those of {clip.name} (digest "
                f"{about.digest[:12]}, not {store.digest(clip)[:12]}): features of two CLIPs do not compare; "
                "name the CLIP that it was made with, or export it again"
            )
        features = [
            {
                "global": own["globals"][rows],
                "local": own["locals"][rows],
                "evidence": own["evidence"][rows],
            }
            for rows in torch.arange(len(own["globals"])).split(len(about.classes))
        ]
        evidence = own["has_evidence"].bool().tolist()
        named = {
            name: part if has else {k: v for k, v in part.items() if k != "evidence"}
            for name, part, has in zip(about.models, features, evidence, strict=True)
        }
        both = zip(own["global_scale"].tolist(), own["spatial_scale"].tolist(), strict=True)
        scorer = Scorer.of(named, about.classes, dict(zip(about.models, both, strict=True)))
        calibration = {
            way: Calibration(own[f"thresholds.{way}"].numpy(), own[f"spread.{way}"].numpy(), rule)
            for way, rule in about.thresholds.items()
        }
        return Tagger(about, scorer, calibration, clip)

    def eye(
        self,
        seeing: Seeing = "maps",
        *,
        batch_size: int = 64,
        precision: str = "fp32",
        device: str | torch.device = "auto",
    ) -> "Eye":
        """What looks at images one way, on a device."""
        chosen = runtime.pick_device(device, key="--device") if isinstance(device, str) else device
        about = self.about
        return Eye(
            self.clip, self.scorer, seeing, scales=about.scales, maps=about.maps,
            batch_size=batch_size, precision=precision, device=chosen,
        )  # fmt: skip

    def tags(self, judged: Judged, seeing: Seeing = "maps") -> list[Tag]:
        """An image's tags, most probable first.

        Raises:
            InputError: the tagger has no thresholds for this way of seeing.
        """
        one = self._calibrated(seeing)
        distance = (judged.logits - one.thresholds) / one.spread
        probability = 1 / (1 + np.exp(-distance.astype(np.float64)))
        places = [Box(0, 0, *judged.size)]
        if seeing != "fast":
            places += boxes(*judged.size, self.about.scales)
        return [
            Tag(self.classes[c], float(probability[c]), places[judged.windows[c]])
            for c in np.argsort(-probability, kind="stable")
            if distance[c] > 0
        ]

    def _calibrated(self, seeing: str) -> Calibration:
        if seeing not in get_args(Seeing):
            raise InputError(
                f"seeing {seeing!r} is unknown; allowed are fast (the whole image), maps (windows read off "
                "maps) and crops (every window encoded alone, --full)"
            )
        if seeing not in self.calibration:
            raise InputError(
                f"the tagger has no thresholds for {seeing!r}, only for {sorted(self.calibration)}; "
                "`clipworks tag` reads them off a folder of images, `clipworks export` keeps them"
            )
        return self.calibration[seeing]

    def tag(self, images: Iterable[str | Path | bytes], seeing: Seeing = "maps") -> list[list[Tag]]:
        """Tags of some images, files or their content, in their order.

        Raises:
            InputError: an image cannot be read; `clipworks tag` reports such images and goes on.
        """
        unordered = isinstance(images, str | Path | bytes | Set)
        if unordered or not isinstance(images, Iterable):
            raise InputError("give a list of images: tag([image])")
        images = list(images)
        if odd := [one for one in images if not isinstance(one, str | Path | bytes)]:
            raise InputError(f"an image is a file's path or its bytes, not {type(odd[0]).__name__}")
        self._calibrated(seeing)  # known before anything is looked at
        eye = self.eye(seeing)
        sources = [Path(image) if isinstance(image, str) else image for image in images]
        found: list[list[Tag]] = []
        waiting: list[Cut] = []
        for number, one in enumerate(sources, start=1):
            cut = eye.cut(str(one) if isinstance(one, Path) else f"image {number - 1}", one)
            if cut.reason:
                raise InputError(f"{cut.name} cannot be read: {cut.reason}")
            waiting.append(cut)
            # So many at a time that memory does not grow with the list.
            if number == len(sources) or sum(one.area for one in waiting) >= eye.at_once:
                found += [self.tags(judged, seeing) for judged in eye.judge(waiting)]
                waiting = []
        return found
