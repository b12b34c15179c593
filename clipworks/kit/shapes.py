"""Shapes in signatures, as `Float[Tensor, "image class"]`: one vocabulary for the whole project.

The words: image, window, position (of an image's map), text, token, class, context, dim (CLIP's
joint space), width (the text tower's own), model (of the ensemble). The tests check every
annotated shape at run time (`pytest --jaxtyping-packages`); a run itself pays nothing.
"""

from jaxtyping import Float, Int, UInt8

__all__ = ["Float", "Int", "UInt8"]
