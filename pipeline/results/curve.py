"""The curve, reports/rd.csv, in short."""

import pandas as pd

from pipeline.metrics import declared

ALL = "all"
"""The kind that stands for clips of all kinds."""


def table(curve: pd.DataFrame) -> pd.DataFrame:
    """One row per point with its file rate and the mean of each metric over its widest kind."""
    rows = []
    for point, group in curve.groupby("point", sort=False):
        row: dict[str, object] = {"point": point}
        for metric in declared():
            found = group[group.metric == metric]
            if len(found):
                widest = found.iloc[-1]
                row["file kbps"] = row.get("file kbps")
                row[metric] = None if widest["mean"] is None else round(float(widest["mean"]), 3)
                if widest.kind == ALL or row["file kbps"] is None:
                    row["file kbps"] = round(float(widest.file_kbps), 2)
        rows.append(row)
    return pd.DataFrame(rows)
