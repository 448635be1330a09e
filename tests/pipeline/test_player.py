"""What the pages play: which points, and how loud they are."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report import player
from pipeline.results.summary import Envelope
from tests.conftest import tone

CURVE = pd.DataFrame(
    [
        ("neural-low", "neural", 3.0), ("neural-high", "neural", 12.0),
        ("opus-6", "opus", 6.0), ("opus-12", "opus", 12.1), ("opus-wide-7", "opus-wide", 3.1),
        ("rvq", "rvq", 3.0), ("odd", "ablation", 3.0),
        ("lc3-16", "lc3", 16.0), ("amr-6", "amr-wb", 6.6),
    ],
    columns=["point", "series", "file_kbps"],
).assign(kind="all")  # fmt: skip


def test_pairs_are_made_with_opus_at_its_best() -> None:
    best = Envelope(metric="visqol_audio", kind="all", points=["opus-wide-7"], validation_clips=3)
    (pair,) = player.pairs(CURVE, 1, [best])
    assert (pair.neural, pair.anchor) == ("neural-low", "opus-wide-7")
    # Without a choice, with any of its settings.
    found = player.pairs(CURVE, 2)
    assert [(pair.neural, pair.anchor) for pair in found] == [
        ("neural-low", "opus-wide-7"), ("neural-high", "opus-12"),
    ]  # fmt: skip
    assert player.pairs(CURVE[CURVE.series == "neural"], 2) == []


def test_the_peer_is_neither_ours_nor_opus_and_was_coded_here() -> None:
    chosen = player.pairs(CURVE, 2)
    coded = list(CURVE.point)
    assert player.peer(CURVE, chosen, coded) == player.Peer("amr-6", 6.6)
    assert player.peer(CURVE, chosen, [*coded[:-1]]) == player.Peer("lc3-16", 16.0)
    assert player.peer(CURVE, chosen, coded[:-2]) is None
    assert player.peer(CURVE, [], coded) is None


def test_loudness_is_that_of_bs_1770() -> None:
    """A sine of 997 Hz at full scale is −3.01 LUFS; two channels of it are 3.01 LU louder."""
    time = np.arange(3 * 48_000) / 48_000
    sine = np.sin(2 * np.pi * 997 * time)[None].astype(np.float32)
    assert player.loudness(sine, 48_000) == pytest.approx(-3.01, abs=0.05)
    assert player.loudness(np.vstack([sine, sine]), 48_000) == pytest.approx(0, abs=0.05)
    assert player.loudness(sine / 10, 48_000) == pytest.approx(-23.01, abs=0.05)


def test_silence_and_a_moment_have_no_loudness() -> None:
    assert player.loudness(np.zeros((1, 48_000), np.float32), 48_000) is None
    assert player.loudness(tone(0.3, 16_000), 16_000) is None
