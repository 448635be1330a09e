import numpy as np
import pytest

from pipeline.statistics import bd_rate, bootstrap_mean

RATES = np.array([2.0, 4.0, 8.0, 16.0])
QUALITY = np.array([2.0, 2.6, 3.3, 3.9])


def test_interval_holds_the_mean_and_narrows_with_the_sample() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 2_000):
        values = rng.normal(3, 1, count)
        low, high = bootstrap_mean(values, np.arange(count).astype(str), 2_000, 0.95, 0)
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5
    assert widths[1] == pytest.approx(2 * 1.96 / np.sqrt(2_000), rel=0.1)


def test_clips_of_one_speaker_are_drawn_together() -> None:
    """Ten copies of each speaker's value say no more than one."""
    values = np.random.default_rng(0).normal(0, 1, 12)
    once = bootstrap_mean(values, np.arange(12).astype(str), 4_000, 0.95, 0)
    tenfold = bootstrap_mean(
        np.repeat(values, 10), np.repeat(np.arange(12), 10).astype(str), 4_000, 0.95, 0
    )
    assert tenfold == pytest.approx(once, abs=0.05)


def test_one_speaker_has_no_interval() -> None:
    assert all(np.isnan(bootstrap_mean(np.ones(5), np.full(5, "a"), 100, 0.95, 0)))


def test_the_same_seed_gives_the_same_interval() -> None:
    values, groups = np.arange(9.0), np.arange(9).astype(str)
    assert bootstrap_mean(values, groups, 500, 0.9, 1) == bootstrap_mean(
        values, groups, 500, 0.9, 1
    )


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.4])
def test_bd_rate_of_a_shifted_curve_is_the_shift(factor: float) -> None:
    found = bd_rate((RATES, QUALITY), (RATES * factor, QUALITY), 0.5)
    assert found.percent == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert found.overlap == pytest.approx(1)
    shuffled = [2, 0, 3, 1]
    again = bd_rate((RATES[shuffled], QUALITY[shuffled]), (RATES * factor, QUALITY), 0.5)
    assert again.percent == pytest.approx(found.percent)


@pytest.mark.parametrize(
    ("rates", "quality", "reason"),
    [
        (RATES[:3], QUALITY[:3], "has 3 points"),
        (RATES, QUALITY[[0, 2, 1, 3]], "does not rise"),
        (RATES, QUALITY + 5, "0% of the quality ranges overlap"),
        (RATES, QUALITY + 1.5, "overlap"),
    ],
)
def test_what_cannot_be_compared_has_a_reason(rates, quality, reason: str) -> None:
    found = bd_rate((RATES, QUALITY), (rates, quality), 0.5)
    assert found.percent is None
    assert reason in found.reason
