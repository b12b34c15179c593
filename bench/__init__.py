"""Speed questions, one script each: `python -m bench.<name>`, `--full` for the real size.

Every script measures our way against the obvious way in one run and prints, last, one JSON line.
"""
