"""The stages of dvc.yaml: each reads and writes versioned artifacts and leaves thinking to clipworks."""
