"""Searching one's own images by sentences and by images: `clipworks search`."""
