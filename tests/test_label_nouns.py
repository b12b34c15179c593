"""Names are found in the plurals and singulars that English gives them, and in nothing else."""

import pytest

from clipworks.kit.classes import Synonyms
from clipworks.writing.inflections import ambiguous
from clipworks.writing.labels import Labeller

# Class name, and captions that name it.
NOUNS = [
    ("mouse", "Two mice eat cheese."),
    ("goose", "Geese cross the road."),
    ("knife", "Sharp knives on a board."),
    ("shelf", "Shelves full of jars."),
    ("bookshelf", "Tall bookshelves line the wall."),
    ("loaf", "Three loaves cool on a rack."),
    ("wolf", "Wolves howl at night."),
    ("calf", "Calves drink milk."),
    ("leaf", "Red leaves on the ground."),
    ("lens", "Camera lenses in a case."),
    ("lens", "A lens lies on the table."),
    ("bus", "Red buses wait."),
    ("box", "Boxes stand in the hall."),
    ("dish", "Dirty dishes in the basin."),
    ("cherry", "A bowl of cherries."),
    ("potato", "Baked potatoes with butter."),
    ("tomato", "Ripe tomatoes on the vine."),
    ("piano", "Grand pianos in a shop."),
    ("photo", "Old photos on the wall."),
    ("volcano", "Volcanoes smoke in the distance."),
    ("cactus", "Cacti grow in the desert."),
    ("cactus", "Small cactuses in pots."),
    ("fungus", "Fungi on a log."),
    ("octopus", "Octopuses in a tank."),
    ("sheep", "Sheep graze on a hill."),
    ("fish", "Many fish swim, the fishes are red."),
    ("deer", "Two deer in the woods."),
    ("moose", "Three moose by a lake."),
    ("bison", "Bison cross a river."),
    ("trout", "Trout in a stream."),
    ("aircraft", "Aircraft on a runway."),
    ("child", "Children play."),
    ("grandchild", "Her grandchildren laugh."),
    ("person", "People walk."),
    ("man", "Men dig a hole."),
    ("woman", "Women sing."),
    ("policeman", "Policemen on horseback."),
    ("fireman", "Firemen hold a hose."),
    ("salesman", "Salesmen shake hands."),
    ("snowman", "Snowmen in a garden."),
    ("german", "Germans drink beer."),
    ("foot", "Bare feet in the sand."),
    ("tooth", "White teeth."),
    ("die", "A pair of dice."),
    ("ox", "Oxen pull a cart."),
    ("mongoose", "Mongooses fight a snake."),
    ("series", "A series of doors."),
    ("species", "Rare species in a museum."),
    ("matrix", "Matrices on a blackboard."),
    ("axe", "Two axes in a stump."),
    ("axis", "The axes of a chart."),
    ("vase", "Vases of flowers."),
    ("house", "Houses by the sea."),
    ("horse", "Horses gallop."),
    ("glass", "Glasses of water."),
    ("gas", "Gases rise from a chimney."),
    ("quiz", "Pub quizzes on a blackboard."),
    ("waltz", "They dance waltzes."),
    ("thief", "Thieves climb a fence."),
    ("scarf", "Woollen scarves."),
    ("scarf", "Silk scarfs."),
    ("hoof", "The hooves of a cow."),
    ("hoof", "Muddy hoofs."),
    ("roof", "Tiled roofs."),
    ("cliff", "White cliffs."),
    ("chief", "Two chiefs with feathers."),
    ("handkerchief", "Handkerchiefs on a line."),
    ("tv", "TVs in a shop window."),
    ("suv", "SUVs in the snow."),
    ("cd", "A pile of CDs."),
    ("passer-by", "Passers-by stop and look."),
    ("mother-in-law", "Two mothers-in-law at a wedding."),
    ("cup of tea", "Cups of tea on a tray."),
    ("mouse pad", "Mouse pads on a desk."),
    ("tennis racket", "Tennis rackets in a bag."),
    ("hot dog", "Hot-dogs with mustard."),
    ("toothbrush", "Toothbrushes in a mug."),
    ("hair drier", "Hair driers on a shelf."),
    ("casino", "Casinos at night."),
    ("burrito", "Burritos on a plate."),
    ("gecko", "Geckos on a wall."),
    ("larva", "Larvae in a jar."),
    ("saw", "Two saws on a wall."),
    ("dog", "The dog's bowl and the dogs’ leashes."),
    ("café", "Two cafés by the river."),
    # Names given in the plural
    ("skis", "One ski in the snow."),
    ("sunglasses", "Sunglasses on a nose."),
    ("scissors", "Scissors in a drawer."),
    ("pants", "Blue pants on a line."),
    ("jeans", "Torn jeans."),
    ("binoculars", "A man with binoculars."),
    ("glasses", "A woman wears glasses."),
    ("people", "A person walks."),
    ("people", "People walk."),
    ("knives", "A knife lies there."),
    ("leaves", "A leaf floats."),
    ("wine glasses", "A wine glass and a plate."),
    ("young people", "A young person reads."),
    ("soap opera", "Soap operas on a screen."),
]
# Class name, and captions that do not name it.
TRAPS = [
    ("saw", "A man sees a hammer."),
    ("saw", "She is seeing a dog."),
    ("lens", "Len plays a tune."),
    ("leaf", "A bus is leaving, a man will leave."),
    ("leaves", "They leave the house."),
    ("shelf", "A man shelved his plans."),
    ("elder", "An old clock on a wall."),
    ("skis", "Clear blue skies, a man is skiing."),
    ("skis", "A sky over a hill."),
    ("rose", "Balloons rise over a field."),
    ("dove", "A man dives into a lake."),
    ("mouse", "A mousse on a plate."),
    ("glasses", "A glass of water."),
    ("shorts", "A short man."),
    ("dice", "Plants die in a pot."),
    ("fries", "A chef will fry an egg."),
    ("remote", "The remotest island."),
    ("park", "A car is parked, a man is parking."),
    ("bus", "A busy street, a bust on a shelf."),
    ("person", "A personal letter."),
    ("cat", "The catalogue of a caravan."),
    ("hot dog", "A hot day, a dog sleeps."),
    ("hot dog", "It is hot, dog and man rest."),
    ("tennis racket", "A tennis ball and a racket."),
    ("horse", "A hoarse singer."),
    ("ring", "He is bringing strings."),
]


def one_class(name: str) -> Labeller:
    return Labeller([name], Synonyms())


@pytest.mark.parametrize(("name", "caption"), NOUNS)
def test_a_name_is_found_in_its_singular_and_plural(name: str, caption: str) -> None:
    assert one_class(name).label(caption) == [0]


@pytest.mark.parametrize(("name", "caption"), TRAPS)
def test_a_name_is_not_found_in_the_forms_of_other_words(name: str, caption: str) -> None:
    assert one_class(name).label(caption) == []


def test_words_as_they_are_written_win_over_inflected_ones() -> None:
    both = Labeller(["glass", "glasses"], Synonyms())
    assert both.label("two glasses") == [1] and both.label("one glass") == [0]
    eyes = Labeller(["skis"], Synonyms(other_meanings=["ski"]))
    assert eyes.label("a ski instructor") == [] and eyes.label("a pair of skis") == [0]


def test_phrases_of_other_meaning_are_inflected_at_their_verb_too() -> None:
    tie = Labeller(["tie"], Synonyms(other_meanings=["tie his"]))
    assert tie.label("He ties his shoes.") == [] and tie.label("He wears ties.") == [0]


@pytest.mark.parametrize(
    ("name", "form", "other"),
    [
        ("saw", "saw", "see"),
        ("leaf", "leaves", "leave"),
        ("rose", "rose", "rise"),
        ("dove", "dove", "dive"),
        ("glasses", "glasses", "glass"),
        ("axis", "axes", "axe"),
        ("can", "can", "auxiliary verb"),
        ("orange", "orange", "adjective"),
        ("well", "well", "adverb"),
        *((name, name, f"verb 'to {name}'") for name in "watch train iron park light".split()),
        *((name, name, f"verb 'to {name}'") for name in "bat box fly duck drill".split()),
    ],
)
def test_a_name_with_another_use_is_reported(name: str, form: str, other: str) -> None:
    assert any(form == found.form and other in found.why for found in ambiguous([name]))


@pytest.mark.parametrize(
    "name", "cat dog cup table bottle zebra umbrella chair bench man hot-dog".split()
)
def test_a_name_whose_other_uses_are_rare_is_not_reported(name: str) -> None:
    assert ambiguous([name]) == []


def test_a_form_that_two_names_share_is_reported_at_both() -> None:
    found = {(a.name, a.form) for a in ambiguous(["axe", "axis"]) if "also a form of 'ax" in a.why}
    assert found == {("axe", "axes"), ("axis", "axes")}
