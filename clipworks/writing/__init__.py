"""The text factory: from class names to labelled captions."""
