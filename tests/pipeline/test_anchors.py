"""Opus on validation clips: which of them, and what becomes of their scores."""

import numpy as np
import pandas as pd
import pytest

from pipeline.coders import Coder
from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.params.points import is_opus
from pipeline.stages import anchors


def clip(name: str, kind: str) -> Clip:
    return Clip(
        file=f"{name}.flac", kind=kind, source=name, language="", sample_rate=8_000, channels=1,
        seconds=1.0, licence="", origin="",
    )  # fmt: skip


def test_some_clips_of_each_kind_are_spread_over_all_names() -> None:
    clips = [clip(f"s{number:03}", "speech") for number in range(100)] + [clip("m", "music")]
    chosen = [one.name for one in anchors.some_of(clips)]
    assert chosen[-1] == "m"
    assert len(chosen) == len(set(chosen)) == anchors.CLIPS + 1
    assert (chosen[0], chosen[-2]) == ("s000", "s099")


def test_a_long_clip_is_cut_around_its_middle() -> None:
    whole = np.arange(80.0, dtype=np.float32)[None]
    assert anchors.middle(whole, 8)[0].tolist() == list(range(20, 60))
    assert anchors.middle(whole, 100) is not whole
    assert anchors.middle(whole, 100).shape == whole.shape


def test_validation_clips_are_coded_and_nothing_of_the_test_clips_is_read(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Halved(Coder):
        def encode(self, waveform, sample_rate):
            return (waveform[:, ::2] * 127).astype(np.int8).tobytes()

        def decode(self, data):
            return np.frombuffer(data, np.int8)[None].astype(np.float32) / 127, 4_000

    read = []
    monkeypatch.setattr(
        manifest, "read", lambda folder: read.append(folder) or [clip("a", "music")]
    )
    wave = np.sin(np.arange(80_000, dtype=np.float32) / 9)[None] / 2
    monkeypatch.setattr(anchors.audio, "read", lambda path: (read.append(path), (wave, 8_000))[1])
    (row,) = anchors.code("opus-x", Halved(), anchors.excerpts(tmp_path))
    assert {path.parts[:2] for path in read} == {("data", "valid")}
    assert (row["pair"], row["seconds"], row["file_bytes"]) == ("opus-x/a", 5.0, 20_000)
    monkeypatch.undo()
    for path in (row["reference"], row["degraded"]):
        assert anchors.audio.read(path)[0].shape == (1, 40_000)


def test_means_are_of_each_kind_and_of_all_with_the_rate_of_their_files() -> None:
    files = pd.DataFrame(
        [("p/a", "p", "speech", 2.0, 1_000), ("p/b", "p", "music", 2.0, 3_000)],
        columns=["pair", "point", "kind", "seconds", "file_bytes"],
    )
    scores = pd.DataFrame(
        [("p/a", "stoi", 0.5), ("p/a", "zimtohrli", 0.1), ("p/b", "zimtohrli", None)],
        columns=["pair", "metric", "value"],
    )
    found = anchors.means(files, scores, {"p": "opus-x"}).set_index(["metric", "kind"])
    assert found.file_kbps.to_dict() == {
        ("stoi", "speech"): 4.0, ("stoi", "all"): 4.0,
        ("zimtohrli", "speech"): 4.0, ("zimtohrli", "music"): 12.0, ("zimtohrli", "all"): 8.0,
    }  # fmt: skip
    assert found.n_scored["zimtohrli", "all"] == 1
    assert np.isnan(found["mean"]["zimtohrli", "music"])
    assert anchors.means(pd.DataFrame(), pd.DataFrame(), {}).empty


@pytest.mark.parametrize("series", ["opus", "opus-wide"])
def test_series_of_opus_go_by_their_name(series: str) -> None:
    assert is_opus(series)
    assert not is_opus(f"my{series}")
    assert not is_opus("opusish")
