"""The frozen CLIP: its two towers, class features from hand-written prompts, and the formulas of logits."""
