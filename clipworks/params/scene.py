"""How a scene of the miniature world looks."""

from pydantic import ConfigDict

from clipworks.params import AtLeastOne, Count, Number, Section, Share


class Scene(Section):
    """The fields of `clipworks.world.SceneStyle`."""

    side: AtLeastOne  # pixels
    objects: tuple[AtLeastOne, AtLeastOne]
    object_size: tuple[Share, Share]  # of the side
    clutter: Count
    distractors: Count
    stranger: Share
    tilt: Number  # degrees

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
