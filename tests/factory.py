"""What the tests of the text factory share."""

from pathlib import Path

from clipworks.chat.journal import Journal
from clipworks.chat.params import Sampling
from clipworks.chat.request import read_templates
from clipworks.kit.classes import Synonyms
from clipworks.miniature.grammar import GrammarEngine
from clipworks.writing.dialogue import Dialogue, Plan, Turn
from clipworks.writing.labels import Labeller

ROOT = Path(__file__).parent.parent


SAMPLING = Sampling(temperature=0.8, top_p=0.95, max_tokens=256)


NAMES = ["person", "dog", "car", "bus", "cup"]


def labeller() -> Labeller:
    return Labeller(
        NAMES,
        Synonyms(
            synonyms={
                "person": ["man", "woman", "child"],
                "dog": ["puppy"],
                "car": ["taxi"],
                "cup": ["mug"],
            }
        ),
    )


def dialogue(plan: Plan, folder: Path, **options: bool) -> list[Turn]:
    """What the offline engine answers to a plan; the journal lies in `folder`."""
    with Journal(folder / "j.sqlite") as journal:
        talk = Dialogue(GrammarEngine, journal, read_templates(ROOT / "data/templates"), seed=0)
        settings = {"feasibility": True, "check": True, "threshold": 0.5, **options}
        return list(talk.caption(plan, **settings, sampling=SAMPLING, verdict_sampling=SAMPLING))
