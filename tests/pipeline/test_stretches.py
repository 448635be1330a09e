"""The bar of rates: who is better where, by judges that agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics import installed
from pipeline.results.statistics import Sample
from pipeline.results.stretches import GRID, in_words, judgement, opinion, stretches
from pipeline.results.summary import Stretch

RATES = np.array([2.0, 4.0, 8.0, 16.0])


def sample(rates: np.ndarray, offset: np.ndarray, clips: int = 24) -> Sample:
    """Scores that rise by one per octave, moved by ``offset`` at each point."""
    rng = np.random.default_rng(5)
    level = 0.5 * rng.standard_normal(clips)
    scores = np.log2(rates)[:, None] + level + np.asarray(offset)[:, None]
    seconds = np.full(clips, 2.0)
    return Sample(1000 * rates[:, None] * seconds, seconds, scores)


def said(
    ours: np.ndarray, anchor: np.ndarray, noise: float = 0.05, rates: np.ndarray = RATES
) -> np.ndarray:
    first, second = sample(RATES, anchor), sample(rates, ours)
    rng = np.random.default_rng(6)
    apart = noise * rng.standard_normal(second.scores.shape)
    apart -= apart.mean(axis=1, keepdims=True)
    noisy = Sample(second.bits, second.seconds, second.scores + apart)
    return opinion(first, noisy, np.arange(24).astype(str), 300, 0.95, 0)


def at(kbps: float) -> int:
    return int(np.abs(GRID - kbps).argmin())


def test_ahead_below_a_crossing_and_behind_above() -> None:
    found = said(np.array([0.3, 0.3, -0.3, -0.3]), np.zeros(4))
    assert found[at(3)] == 1
    assert found[at(12)] == -1
    assert found[at(np.sqrt(4 * 8))] == 0
    assert np.isnan(found[GRID < 1.95]).all()
    assert np.isnan(found[GRID > 16.5]).all()


def test_what_other_clips_would_not_say_is_level() -> None:
    found = said(np.full(4, 0.05), np.zeros(4), noise=1.0)
    assert set(found[np.isfinite(found)]) == {0.0}


def test_rates_that_one_curve_lacks_have_no_opinion() -> None:
    found = said(np.full(4, 0.3), np.zeros(4), rates=np.array([4.0, 8.0, 16.0, 32.0]))
    assert np.isnan(found[GRID < 3.9]).all()
    assert found[at(5)] == 1
    assert np.isnan(found[GRID > 16.5]).all()


def test_one_speaker_alone_says_nothing() -> None:
    one = sample(RATES, np.zeros(4))
    assert np.isnan(opinion(one, one, np.full(24, "she"), 100, 0.95, 0)).all()


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"pesq_wb": 1, "stoi": 1}, "better"),
        ({"pesq_wb": -1, "stoi": -1, "visqol_audio": 0}, "worse"),
        ({"pesq_wb": 1, "stoi": 0}, "level"),
        ({"pesq_wb": 1, "stoi": -1, "visqol_audio": 1}, "disagree"),
        # Two that work alike are one judge.
        ({"visqol_audio": 1, "visqol_speech": 1}, None),
        ({"visqol_audio": 1, "visqol_speech": 1, "stoi": 0}, "level"),
        ({"visqol_audio": 1}, None),
        ({"visqol_audio": 1, "stoi": np.nan}, None),
        ({}, None),
    ],
)
def test_a_judgement_takes_two_that_work_differently(says, expected) -> None:
    assert judgement(says) == expected


METRICS = sorted(name for name, metric in installed().items() if metric.perceptual)


@given(st.dictionaries(st.sampled_from(METRICS), st.sampled_from([-1.0, 0.0, 1.0, np.nan])))
def test_the_other_side_says_the_contrary(says: dict[str, float]) -> None:
    other = {"better": "worse", "worse": "better"}
    ours = judgement(says)
    theirs = judgement({name: -one for name, one in says.items()})
    assert theirs == other.get(ours or "", ours)


def test_stretches_join_to_the_rates_that_were_judged() -> None:
    ours = np.where(GRID < 6, 1.0, -1.0)
    ours[(GRID < 2) | (GRID > 30)] = np.nan
    found = stretches("speech", {"pesq_wb": ours, "stoi": ours})
    assert [one.judgement for one in found] == ["better", "worse"]
    assert found[0].lowest == pytest.approx(2, rel=0.03)
    assert found[0].highest == found[1].lowest == pytest.approx(6, rel=0.03)
    assert found[1].highest == pytest.approx(30, rel=0.03)
    assert in_words(found) == "better from 2.0 to 6.1 kbps, then worse to 29.8"


def test_a_gap_is_said() -> None:
    gap = [Stretch(kind="music", judgement="level", lowest=1, highest=2),
           Stretch(kind="music", judgement="disagree", lowest=4, highest=8)]  # fmt: skip
    assert in_words(gap) == "level from 1.0 to 2.0 kbps, the judges disagree from 4.0 to 8.0"
    assert in_words([]) == "no rate that two judges of different kinds know"
