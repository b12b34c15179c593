"""From image files to stored logits of windows."""
