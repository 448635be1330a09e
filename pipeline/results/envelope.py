"""A coder at its best: of several settings the best one at each rate."""

import numpy as np
import pandas as pd

SAME_RATE = 1.05
"""Rates as near as this are one rate, at which one setting is the best."""
RULE = (
    "from the highest score down, a setting is kept where it needs at least 5 % less bitrate than "
    "every better one; so is what Opus chooses by itself, where that is better on the test clips"
)


def upper_envelope(rows: pd.DataFrame, sign: int) -> list[str]:
    """The points that are on it, by rising rate; see ``RULE``.

    ``rows`` has a ``point``, its ``mean`` score and its ``file_kbps`` each; ``sign`` is 1 where
    higher scores are better, −1 where lower ones are.
    """
    rows = rows.dropna(subset=["mean"]).assign(quality=sign * rows["mean"])
    rows = rows.sort_values(["quality", "file_kbps"], ascending=[False, True], kind="stable")
    kept: list[str] = []
    lowest = np.inf
    for point, kbps in zip(rows.point, rows.file_kbps, strict=True):
        if kbps * SAME_RATE <= lowest:
            kept.append(str(point))
            lowest = kbps
    return kept[::-1]
