"""The six tuned models, in the order in which their logits are stored."""

MODELS = ("base", "ema", "zema", "diff", "diffh", "difft")
