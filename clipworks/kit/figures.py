"""matplotlib for files: no screen, and names with dollar signs are no formulas."""

from matplotlib import pyplot as plt

plt.switch_backend("Agg")
plt.rcParams["text.parse_math"] = False

__all__ = ["plt"]
