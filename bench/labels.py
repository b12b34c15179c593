"""Labelling captions: the forms of names, against tokenise, tag, lemmatise by part of speech, match.

The slow way is the solution's: a word tokeniser, a perceptron tagger (NLTK's, trained here on a few
tagged sentences, since its weights are a download), lemmas by part of speech (lemminflect), then
every synonym tried in turn, long names first. It labels a sample; both are given per 100,000.
"""

from pathlib import Path

import lemminflect
import numpy as np
from nltk.tag.perceptron import PerceptronTagger
from nltk.tokenize import TreebankWordTokenizer

from bench.timing import alternate, options, report
from clipworks.kit.classes import read_classes, read_synonyms
from clipworks.miniature.grammar import _sentence
from clipworks.writing.labels import Labeller

TAGGED = [
    [
        ("A", "DT"),
        ("dog", "NN"),
        ("is", "VBZ"),
        ("running", "VBG"),
        ("in", "IN"),
        ("parks", "NNS"),
        (".", "."),
    ],
    [
        ("Two", "CD"),
        ("men", "NNS"),
        ("ride", "VBP"),
        ("old", "JJ"),
        ("bikes", "NNS"),
        ("quickly", "RB"),
        (".", "."),
    ],
    [
        ("The", "DT"),
        ("kitchen", "NN"),
        ("was", "VBD"),
        ("cleaned", "VBN"),
        ("and", "CC"),
        ("sinks", "NNS"),
        ("shine", "VB"),
    ],
]
POS = {"N": "NOUN", "V": "VERB", "J": "ADJ", "R": "ADV"}


def main() -> None:
    """Label sentences of the grammar both ways."""
    full = options(__doc__ or "").full
    fast_count, slow_count = (1_000_000, 5_000) if full else (100_000, 2_000)
    names = read_classes(Path("data/classes/coco80.txt"))
    synonyms = read_synonyms(Path("data/classes/synonyms.yaml"))
    rng = np.random.default_rng(0)
    captions = [
        _sentence(list(rng.choice(names, int(rng.integers(1, 5)), replace=False)), rng)
        for _ in range(fast_count)
    ]
    ours = Labeller(names, synonyms)
    tagger = PerceptronTagger(load=False)
    tagger.train(TAGGED, nr_iter=5)
    tokenizer = TreebankWordTokenizer()
    table = [
        (form, i)
        for i, name in enumerate(names)
        for form in [name, *synonyms.synonyms.get(name, [])]
    ]
    table.sort(key=lambda entry: (-entry[0].count(" "), -len(entry[0])))

    def obvious() -> None:
        for caption in captions[:slow_count]:
            words = []
            for word, tag in tagger.tag(tokenizer.tokenize(caption.lower())):
                found = lemminflect.getLemma(word, POS.get(tag[:1], "NOUN"))
                words.append(found[0] if found else word)
            text = f" {' '.join(words)} "
            for form, _ in table:
                if f" {form} " in text:
                    text = text.replace(f" {form} ", " ")

    def fast() -> None:
        ours.label_all(captions)

    slow_s, fast_s = alternate(obvious, fast, 3)
    per = 100_000 / slow_count, 100_000 / fast_count
    print(f"100,000 captions: {slow_s * per[0]:.1f} s -> {fast_s * per[1]:.2f} s")
    report(
        "labels",
        slow_s * per[0],
        fast_s * per[1],
        captions=fast_count,
        sample_of_slow_way=slow_count,
    )


if __name__ == "__main__":
    main()
