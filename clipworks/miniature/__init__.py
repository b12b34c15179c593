"""The miniature world: all that stands in for the outside world when nothing can be downloaded."""
