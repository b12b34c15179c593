"""From logits of windows to one logit per image and class: each model's, the ensemble's, every row's."""
