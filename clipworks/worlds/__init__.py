"""Data sets: images in a folder and what stands in their annotations."""
