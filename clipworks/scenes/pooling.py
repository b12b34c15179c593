"""From many prompts to one probability per class.

With J prompts a class and unit features, four rules (`100` is the scale from cosine to logit):

- `shared_softmax`, the contest's: softmax over all prompts of all classes together, then the mean
  over a class's prompts. The normaliser is shared, so this ranks classes by the sum of exp(100 cos):
  a soft maximum over prompts, where one prompt that fits very well can carry its class.
- `embedding_mean`, the usual one: a class's mean text feature, normed again; softmax over classes.
- `template_softmax`: softmax over classes for each template, then the mean over templates.
- `log_sum_exp`: log of the mean of exp(100 cos) over a class's prompts. It ranks as
  `shared_softmax` does; but models are then averaged as logits, so each can veto.

Means, never sums: a class with more prompts is not favoured. Numpy alone, so that the stages that
only read caches start without torch.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import logsumexp, softmax

from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float, Int

NO_LABEL = -1


def membership(owner: Int[np.ndarray, " prompt"]) -> Float[np.ndarray, "prompt class"]:
    """1 / (prompts of the class) where a prompt belongs to a class, else 0: a mean as a product.

    Args:
        owner: the class of each prompt; every class from 0 to the largest has a prompt.
    """
    counts = np.bincount(owner)
    return (owner[:, None] == np.arange(len(counts))) / counts


def prompt_probabilities(
    cosines: Float[np.ndarray, "image prompt"], scale: float
) -> Float[np.ndarray, "image prompt"]:
    """Softmax over all prompts of all classes together."""
    return softmax(scale * cosines, axis=1)


def mix(parts: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean of arrays of one shape; weights are divided by their sum."""
    total = float(sum(weights))
    result = np.zeros_like(parts[0])
    for part, weight in zip(parts, weights, strict=True):
        result += part * (weight / total)
    return result


def drop(
    probabilities: Float[np.ndarray, "image prompt"], threshold: float
) -> Float[np.ndarray, "image prompt"]:
    """Probabilities of at most the threshold become 0, without renormalisation.

    Compared in the array's own precision, as the contest's solution did in float32.
    """
    return np.where(probabilities > probabilities.dtype.type(threshold), probabilities, 0)


def class_means(
    probabilities: Float[np.ndarray, "image prompt"], owner: Int[np.ndarray, " prompt"]
) -> Float[np.ndarray, "image class"]:
    """Mean over each class's prompts; with J prompts a class, rows sum to 1 / J before a drop."""
    return probabilities @ membership(owner).astype(probabilities.dtype)


def embedding_mean(
    cosines: Float[np.ndarray, "image prompt"],
    texts: Float[np.ndarray, "prompt dim"],
    owner: Int[np.ndarray, " prompt"],
    scale: float,
) -> Float[np.ndarray, "image class"]:
    """Class probabilities by the mean text feature of each class, normed again.

    The cosine with a mean of unit vectors is the mean cosine over the mean's length, so cached
    cosines and the texts are enough.
    """
    means = membership(owner)
    lengths = np.linalg.norm(means.T @ texts, axis=1)
    return softmax(scale * (cosines @ means) / lengths, axis=1).astype(cosines.dtype)


def check_pairs(owner: Int[np.ndarray, " prompt"]) -> None:
    """Raises InputError where classes have different numbers of prompts, so that templates do not pair up."""
    counts = np.bincount(owner)
    if len(set(counts.tolist())) > 1:
        raise InputError(
            f"pooling template_softmax pairs the classes' prompts one to one, but they have "
            f"{counts.tolist()}; choose another pooling, or groups in which all have as many"
        )


def template_softmax(
    cosines: Float[np.ndarray, "image prompt"], owner: Int[np.ndarray, " prompt"], scale: float
) -> Float[np.ndarray, "image class"]:
    """Class probabilities by a softmax over classes for each template, averaged.

    Raises:
        InputError: classes have different numbers of prompts, so templates do not pair up.
    """
    check_pairs(owner)
    counts = np.bincount(owner)
    grouped = cosines[:, np.argsort(owner, kind="stable")].reshape(len(cosines), len(counts), -1)
    return softmax(scale * grouped, axis=1).mean(axis=2)


def log_sum_exp(
    cosines: Float[np.ndarray, "image prompt"], owner: Int[np.ndarray, " prompt"], scale: float
) -> Float[np.ndarray, "image class"]:
    """Class logits: log of the mean of exp(scale · cosine) over each class's prompts."""
    classes = range(int(owner.max()) + 1)
    logits = [
        logsumexp(scale * cosines[:, owner == c], axis=1) - np.log((owner == c).sum())
        for c in classes
    ]
    return np.stack(logits, axis=1)


def by_class(
    how: Literal["shared_softmax", "embedding_mean", "template_softmax"],
    cosines: Float[np.ndarray, "image prompt"],
    texts: Float[np.ndarray, "prompt dim"],
    owner: Int[np.ndarray, " prompt"],
    scale: float,
) -> Float[np.ndarray, "image class"]:
    """One model's class probabilities, rows summing to 1; a weighted mean joins several models'."""
    if how == "embedding_mean":
        return embedding_mean(cosines, texts, owner, scale)
    if how == "template_softmax":
        return template_softmax(cosines, owner, scale)
    return to_one(class_means(prompt_probabilities(cosines, scale), owner))


def to_one(pooled: Float[np.ndarray, "image class"]) -> Float[np.ndarray, "image class"]:
    """Rows that sum to 1; a row of which a drop left nothing stays 0."""
    total = pooled.sum(axis=1, keepdims=True)
    return np.divide(pooled, total, out=np.zeros_like(pooled), where=total > 0)


def decide(pooled: Float[np.ndarray, "image class"]) -> Int[np.ndarray, " image"]:
    """The largest class; NO_LABEL where a drop left nothing, for no answer may be made up."""
    return np.where((pooled > 0).any(axis=1), pooled.argmax(axis=1), NO_LABEL)
