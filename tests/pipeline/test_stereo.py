"""Clips of two channels: coded as such, and scored channel by channel."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codec import audio
from pipeline import layout
from pipeline.coders.bench import code_clips
from pipeline.coders.opus import OpusCoder
from pipeline.corpora import folder, manifest
from pipeline.metrics import installed, measure, scoring
from pipeline.metrics.delay import delay_ms
from pipeline.metrics.scoring import Pair, scores_of
from pipeline.params import Statistics
from pipeline.stages import aggregate

RATE = 16_000
STATISTICS = Statistics(resamples=100, confidence=0.95, min_overlap=0.5)


@pytest.fixture(scope="module")
def wide() -> np.ndarray:
    """(2, samples): a tune, and something else on the right."""
    rng = np.random.default_rng(3)
    time = np.arange(RATE) / RATE
    left = np.sin(2 * np.pi * 330 * time) + 0.5 * np.sin(2 * np.pi * 1320 * time)
    swell = np.abs(np.sin(2 * np.pi * 3 * time))
    right = np.convolve(rng.standard_normal(RATE), np.hanning(12) / 6, "same") * swell
    return (0.15 * np.stack([left, right])).astype(np.float32)


def by_metric(reference: np.ndarray, degraded: np.ndarray) -> dict[str, dict]:
    return {row["metric"]: row for row in scores_of("general", reference, degraded, RATE)}


@pytest.mark.parametrize("broken", ["both are the mean", "right is a copy of left"])
def test_what_the_average_of_channels_hides_is_found(wide: np.ndarray, broken: str) -> None:
    left, mean = wide[:1], wide.mean(axis=0, keepdims=True)
    decoded = np.repeat(mean if broken == "both are the mean" else left, 2, axis=0)
    averaged = by_metric(mean, decoded.mean(axis=0, keepdims=True))
    for name, row in by_metric(wide, decoded).items():
        sign = installed()[name].sign
        assert sign * row["worst"] < sign * averaged[name]["value"], name
        if broken == "both are the mean":
            assert averaged[name]["value"] == pytest.approx(installed()[name].copy, abs=0.1)
            assert sign * row["value"] < sign * averaged[name]["value"], name


def test_a_score_is_the_mean_of_both_channels_and_the_worst_stands_beside_it(
    wide: np.ndarray,
) -> None:
    noise = 0.02 * np.random.default_rng(0).standard_normal(wide.shape).astype(np.float32)
    decoded = wide + np.array([[0.1], [1.0]], np.float32) * noise
    rows = by_metric(wide, decoded)
    for name, metric in installed().items():
        if "general" not in metric.kinds:
            continue
        alone = [
            measure(
                metric, reference=wide[[at]], degraded=decoded[[at]], sample_rate=RATE
            )
            for at in range(2)
        ]  # fmt: skip
        assert rows[name]["value"] == pytest.approx(np.mean(alone))
        worst = min(alone) if metric.higher_is_better else max(alone)
        assert rows[name]["worst"] == worst
        assert rows[name]["provenance"] == (
            f"{metric.provenance()}, channels: mean of left and right"
        )
        mono = by_metric(wide[:1], decoded[:1])[name]
        assert mono == {
            "metric": name, "value": alone[0], "reason": "", "provenance": metric.provenance(),
        }  # fmt: skip


def test_a_channel_that_cannot_be_scored_is_a_reason_and_no_score_of_the_other(
    wide: np.ndarray,
) -> None:
    hard_left = wide * np.array([[1], [0]], np.float32)
    for row in by_metric(hard_left, hard_left).values():
        assert row["value"] is None
        assert "worst" not in row
        assert row["reason"] == "channel 2 of 2: silent reference"


def test_one_late_channel_is_late(wide: np.ndarray) -> None:
    decoded = wide.copy()
    decoded[1] = np.roll(decoded[1], 160)
    assert delay_ms(reference=wide, degraded=wide, sample_rate=RATE) == 0
    assert delay_ms(reference=wide, degraded=decoded, sample_rate=RATE) == pytest.approx(10)
    # Opposite channels leave nothing of an average.
    opposite = np.stack([wide[1], -wide[1]])
    late = np.roll(opposite, 160, axis=1)
    assert delay_ms(reference=opposite, degraded=late, sample_rate=RATE) == pytest.approx(10)


def test_a_stereo_clip_goes_through_the_bench_as_stereo(
    wide: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a mono clip, from the file to the row of the curve."""
    monkeypatch.chdir(tmp_path)
    clips = []
    for name, wave in (("mono", wide[:1]), ("wide", wide)):
        audio.write(tmp_path / f"{name}.flac", wave, RATE)
        entry = folder.Entry(tmp_path / f"{name}.flac", f"{name}.flac", "general", name, "", "", "")
        clip, read = folder.load(entry, mono=False, longest=0)
        assert read.shape == wave.shape
        audio.write(layout.TEST / clip.file, read, RATE)
        clips.append(clip)
    manifest.write(layout.TEST, clips)
    code_clips("opus-32", OpusCoder(32), layout.TEST)
    files = pd.read_csv(layout.files_table("opus-32"))
    assert list(files.pcm_bytes) == [2 * RATE, 4 * RATE]
    assert aggregate.cost_of(files) == {
        "lookahead_ms": 26.5, "encoder_macs": None, "decoder_macs": None, "parameters": None,
    }  # fmt: skip
    rows = [
        {"clip": clip.name, "source": clip.name, **row}
        for clip in clips
        for row in scoring.score_pair(
            Pair(
                clip.name, clip.kind, str(layout.TEST / clip.file),
                str(layout.decoded_file("opus-32", clip.name)),
            )
        )
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["clip", "source", "metric", "value", "worst"])
    for _, found in scores.groupby("metric"):
        values, worst = found.value.to_numpy(float), found.worst.to_numpy(float)
        assert np.isnan(worst[0])
        quality = aggregate.quality_of(found, STATISTICS, 0)
        assert quality["mean"] == pytest.approx(values.mean())
        assert quality["worst"] == pytest.approx((values[0] + worst[1]) / 2)
        assert aggregate.quality_of(found[:1], STATISTICS, 0)["worst"] is None
