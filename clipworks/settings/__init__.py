"""params.yaml as a whole: every section, and what sections say of each other."""
