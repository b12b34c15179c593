"""Prompt tuning on captions as if they were images."""
