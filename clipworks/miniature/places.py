"""Which things belong together: a small common sense, shared by the painter and the stand-in writer.

A real chat model and the real world agree about kitchens and streets, though not in detail. Here
the world draws with the weights of its own; the grammar engine knows only the memberships.
"""

SCENES: dict[str, tuple[str, ...]] = {
    "kitchen": (
        "sink",
        "bowl",
        "spoon",
        "fork",
        "knife",
        "cup",
        "bottle",
        "apple",
        "carrot",
        "person",
        "potted plant",
        "clock",
        "cat",
    ),
    "restaurant": (
        "pizza",
        "cake",
        "wine glass",
        "bottle",
        "fork",
        "knife",
        "spoon",
        "cup",
        "chair",
        "person",
        "bowl",
        "hot dog",
    ),
    "street": (
        "car",
        "bus",
        "truck",
        "bicycle",
        "motorcycle",
        "traffic light",
        "person",
        "dog",
        "handbag",
        "umbrella",
    ),
    "station": ("train", "suitcase", "handbag", "person", "clock", "bus", "cell phone"),
    "airport": ("airplane", "suitcase", "truck", "bus", "person", "handbag"),
    "farm": ("horse", "cow", "dog", "cat", "bird", "truck", "person", "apple"),
    "park": ("dog", "bird", "bicycle", "sports ball", "person", "umbrella", "hot dog", "horse"),
    "stadium": ("tennis racket", "baseball bat", "sports ball", "person", "bottle", "chair"),
    "living room": (
        "couch",
        "tv",
        "cat",
        "dog",
        "book",
        "potted plant",
        "clock",
        "chair",
        "cell phone",
        "person",
    ),
    "office": (
        "laptop",
        "keyboard",
        "mouse",
        "cell phone",
        "book",
        "chair",
        "cup",
        "scissors",
        "clock",
        "tv",
        "person",
    ),
    "bedroom": ("bed", "book", "clock", "laptop", "cell phone", "cat", "person"),
    "bathroom": ("toilet", "sink", "scissors", "potted plant", "bottle", "cup"),
    "harbour": ("boat", "bird", "person", "car", "suitcase", "umbrella", "bicycle"),
}


def places_of(names: tuple[str, ...]) -> list[str]:
    """The scenes in which all these classes belong."""
    return [scene for scene, members in SCENES.items() if set(names) <= set(members)]
