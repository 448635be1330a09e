"""What the pages play: points at like rates, clip by clip, and their audio as scripts.

Browsers let a page that was opened from a disk run scripts beside it, and read no other file. So
every piece of audio is a script with the FLAC file that was scored, in base64; it is loaded when
somebody asks for it.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from codec.files import write_text
from pipeline import layout
from pipeline.corpora.manifest import Clip
from pipeline.metrics import installed
from pipeline.results.headline import tested_series

ORIGINAL = "original"


@dataclass(frozen=True)
class Pair:
    """A neural point and the Opus point at the nearest measured rate, with both file rates."""

    neural: str
    anchor: str
    neural_kbps: float
    anchor_kbps: float


def pairs(curve: pd.DataFrame, count: int) -> list[Pair]:
    """The ``count`` neural points that come nearest to an Opus point, by rising rate."""
    widest = "all" if "all" in set(curve.kind) else curve.kind.iloc[0]
    points = curve[curve.kind == widest].drop_duplicates("point").set_index("point")
    rates, series = points.file_kbps, points.series
    tested = tested_series(curve)
    neural, anchors = (rates[series[series == name].index] for name in (tested, "opus"))
    if anchors.empty:
        return []
    found = []
    for point, kbps in neural.items():
        distances = np.abs(np.log(anchors.to_numpy(float) / float(kbps)))
        nearest = int(distances.argmin())
        pair = Pair(
            str(point), str(anchors.index[nearest]), float(kbps), float(anchors.iloc[nearest])
        )
        found.append((float(distances[nearest]), pair))
    chosen = sorted(found, key=lambda one: (one[0], one[1].neural))[:count]
    return sorted((pair for _, pair in chosen), key=lambda pair: pair.neural_kbps)


def points_of(chosen: list[Pair]) -> list[str]:
    """Every point that is played, once."""
    return list(dict.fromkeys(point for pair in chosen for point in (pair.neural, pair.anchor)))


def rows(
    clips: list[Clip], chosen: list[Pair], files: pd.DataFrame, scores: pd.DataFrame
) -> list[dict[str, Any]]:
    """A row per clip: name, kind, seconds, and rate and scores at each point played.

    ``files`` and ``scores`` are coded/*.csv and scores/*.csv of all points; a missing score is
    its reason.
    """
    points = points_of(chosen)
    rates = (8 * files.file_bytes / files.seconds / 1000).round(3)
    kbps = {
        (row.point, row.clip): rate for row, rate in zip(files.itertuples(), rates, strict=True)
    }
    played = scores[scores.point.isin(points)]
    values = {
        key: reason if np.isnan(value) else round(value, 4)
        for key, value, reason in zip(
            zip(played["point"], played["clip"], played["metric"], strict=True),
            played["value"].to_numpy(float),
            played["reason"],
            strict=True,
        )
    }
    return [
        {
            "clip": clip.name,
            "kind": clip.kind,
            "seconds": clip.seconds,
            "points": {
                point: {
                    "kbps": kbps[point, clip.name],
                    "scores": {
                        name: values[point, clip.name, name]
                        for name in installed()
                        if (point, clip.name, name) in values
                    },
                }
                for point in points
            },
        }
        for clip in clips
    ]


def write_audio(
    folder: Path, split: Path, clips: list[Clip], chosen: list[Pair], files: pd.DataFrame
) -> None:
    """Write ``folder``/NUMBER-POINT.js for every clip's original and its points.

    ``split`` holds the originals. Each script calls ``rdcodec.receive`` with its own name, the
    FLAC file and, for a point whose coder can tell, the payload bits of every tenth of a second.
    """
    folder.mkdir(parents=True)
    timelines = {(row.point, row.clip): str(row.timeline or "null") for row in files.itertuples()}
    for number, clip in enumerate(clips):
        _write(folder, f"{number}-{ORIGINAL}", split / clip.file, "null")
        for point in points_of(chosen):
            path = layout.decoded_file(point, clip.name)
            _write(folder, f"{number}-{point}", path, timelines[point, clip.name])


def _write(folder: Path, name: str, audio: Path, timeline: str) -> None:
    data = base64.b64encode(audio.read_bytes()).decode()
    write_text(
        folder / f"{name}.js",
        f'rdcodec.receive({json.dumps(name)},{{"flac":"{data}","timeline":{timeline}}});\n',
    )
