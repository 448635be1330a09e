"""Weights as model files keep them: matrices in 8 bits, all else in 16.

A row of a matrix, what one output is made of, has a scale of its own, its largest weight / 127
(Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018, section
3.1.1). What runs is always 32-bit floats. A scale has 8 bits of mantissa, so that its products with
8-bit integers are exact, and what was packed once is packed again as it is.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

LARGEST = 127


def packed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors: ``weights.NAME`` and, for those in 8 bits, ``scales.NAME`` (rows,).

    Raises ValueError for a weight that is too large.
    """
    found = {}
    for name, value in weights.items():
        if value.ndim > 1 and name.endswith(".weight") and not name.startswith("prior."):
            rounded = (value.flatten(1).abs().amax(dim=1) / LARGEST).bfloat16()
            step = _by_row(rounded, value).clamp(min=torch.finfo(torch.float32).tiny)
            found[f"weights.{name}"] = (value / step).round().to(torch.int8)
            found[f"scales.{name}"] = rounded
        else:
            rounded = value.half()
            found[f"weights.{name}"] = rounded
        if not torch.isfinite(rounded).all():
            raise ValueError(f"{name}: a weight is too large for 16 bits")
    return found


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights among a file's tensors, packed or not, as 32-bit floats."""
    found = {}
    for key, value in tensors.items():
        if key.startswith("weights."):
            name = key.removeprefix("weights.")
            scale = tensors.get(f"scales.{name}")
            found[name] = value.float() * (1 if scale is None else _by_row(scale, value))
    return found


def _by_row(scale: Tensor, value: Tensor) -> Tensor:
    return scale.float().view(-1, *[1] * (value.ndim - 1))
