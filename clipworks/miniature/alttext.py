"""Alternative texts for the miniature CLIP's own pretraining: what its web would have looked like.

They name a few things and say little else, as most alternative texts do. Some are long, so that
late positions of the text tower are trained too. Nothing of the text factory's
sentences is used here.
"""

import numpy as np

# Words that name a class beside its own name; the towers see these and no others.
WORDS: dict[str, tuple[str, ...]] = {
    "person": ("person", "person", "man", "woman", "child"),
    "bicycle": ("bicycle", "bike"),
    "motorcycle": ("motorcycle", "motorbike"),
    "airplane": ("airplane", "plane"),
    "car": ("car", "car", "taxi"),
    "boat": ("boat", "boat", "ship"),
    "dog": ("dog", "dog", "puppy"),
    "cat": ("cat", "cat", "kitten"),
    "cup": ("cup", "mug"),
    "couch": ("couch", "sofa"),
    "tv": ("tv", "television"),
    "cell phone": ("cell phone", "phone"),
    "sports ball": ("sports ball", "ball", "football"),
    "potted plant": ("potted plant", "plant"),
    "handbag": ("handbag", "purse"),
    "suitcase": ("suitcase", "luggage"),
    "bird": ("bird", "bird", "pigeon"),
}
OPENINGS = ("", "a photo of ", "a picture of ", "an image of ", "there is ", "a close up of ", "this is ", "the photo shows ")  # fmt: skip
LINKS = (" and ", " next to ", " near ", " with ", " beside ", " in front of ", ", ", " on ", " behind ")  # fmt: skip
TAILS = ("", "", "", ".", " in the picture", " on a plain day", " seen from the side", " here")
FILLERS = (
    "in this image, which somebody took on a quiet day, you can see ",
    "a scene that shows, among some other small and unimportant details, ",
    "on the way home we stopped for a moment to look at this and there was ",
    "it is a simple picture and the only thing that really matters in it is ",
    "after a while, when we had looked at everything else, we found ",
)


def write(names: list[str], rng: np.random.Generator, *, long: bool = False) -> str:
    """One alternative text that names these classes, in a random order."""
    words = [_noun(name, rng) for name in rng.permutation(names)]
    text = words[0]
    for word in words[1:]:
        text += LINKS[rng.integers(len(LINKS))] + word
    opening = OPENINGS[rng.integers(len(OPENINGS))]
    if long:
        count = int(rng.integers(1, 4))
        opening = "".join(FILLERS[i] for i in rng.choice(len(FILLERS), count, replace=False))
    return opening + text + TAILS[rng.integers(len(TAILS))]


def _noun(name: str, rng: np.random.Generator) -> str:
    words = WORDS.get(name, (name,))
    word = words[rng.integers(len(words))]
    article = ("", "a ", "a ", "the ", "one ")[rng.integers(5)]
    if article == "a " and word[0] in "aeiou":
        article = "an "
    return article + word
