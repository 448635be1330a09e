import numpy as np
import pytest
import scipy.stats

from pipeline.results.statistics import (
    Sample,
    at_rate,
    bd_rate,
    bootstrap_bd_rate,
    bootstrap_mean,
    holm,
    paired,
)

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
    assert found.overlap == pytest.approx((1, 1))
    shuffled = [2, 0, 3, 1]
    again = bd_rate((RATES[shuffled], QUALITY[shuffled]), (RATES * factor, QUALITY), 0.5)
    assert again.percent == pytest.approx(found.percent)


@pytest.mark.parametrize(
    ("rates", "quality", "reason"),
    [
        (RATES[:3], QUALITY[:3], "has 3 points"),
        (RATES, QUALITY[[0, 2, 1, 3]], "does not rise"),
        (RATES, QUALITY + 5, "the curves share no quality"),
        (RATES, QUALITY + 1.5, "only 21% of the anchor curve's range is common"),
        # All of its own range is common, and a corner of the anchor's.
        (RATES, 3.3 + 0.1 * QUALITY, "of the anchor curve's range is common"),
        (RATES, 4 * QUALITY - 6, "of the tested curve's range is common"),
    ],
)
def test_what_cannot_be_compared_has_a_reason(rates, quality, reason: str) -> None:
    found = bd_rate((RATES, QUALITY), (rates, quality), 0.5)
    assert found.percent is None
    assert reason in found.reason


def test_bjontegaard_differences_of_a_published_example() -> None:
    """Figures of the Matlab function and of its ports, by a cubic polynomial; ours is Akima's."""
    anchor = (
        np.array([937.0112, 1405.4792, 3438.7128, 6448.6368]),
        np.array([45.5074, 47.0002, 49.9565, 52.1459]),
    )
    tested = (
        np.array([822.0064, 1608.9144, 3086.912, 5784.7696]),
        np.array([45.7215, 47.6227, 50.1394, 52.3339]),
    )
    found = bd_rate(anchor, tested, 0.5)
    assert found.percent == pytest.approx(-11.8354, abs=0.5)
    assert found.quality == pytest.approx(0.4257, abs=0.02)


def sample(rng: np.random.Generator, groups: int, rates: np.ndarray, gain: float) -> Sample:
    """Four points on ``groups`` clips: scores that rise with the rate, and differ by clip."""
    level = 0.4 * rng.standard_normal(groups)
    scores = 2 + gain + np.log2(rates)[:, None] * 0.5 + level
    scores = scores + 0.05 * rng.standard_normal(scores.shape)
    seconds = rng.uniform(3, 8, groups)
    return Sample(1000 * rates[:, None] * seconds, seconds, scores)


def test_bd_rate_interval_is_around_the_true_value_and_honest() -> None:
    """Half a step in quality at each rate is half of the rate: -50 %."""
    held, widths = 0, []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        level = rng.bit_generator.state
        opus = sample(rng, 40, RATES, 0.0)
        rng.bit_generator.state = level  # the same clips, so that levels cancel
        ours = sample(rng, 40, RATES, 0.5)
        noisy = Sample(ours.bits, ours.seconds, ours.scores + 0.3 * rng.standard_normal((1, 40)))
        low, high = bootstrap_bd_rate(opus, noisy, np.arange(40).astype(str), 0.1, 200, 0.95, seed)
        held += low <= -50 <= high
        widths.append(high - low)
    assert held >= 26
    assert np.median(widths) < 40


def test_bd_rate_that_hangs_on_a_few_clips_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    opus, ours = sample(rng, 10, RATES, 0.0), sample(rng, 10, RATES, 0.0)
    crossed = Sample(ours.bits, ours.seconds, ours.scores.copy())
    crossed.scores[1, 0] += 20  # one clip makes the second point the best
    groups = np.arange(10).astype(str)
    assert bootstrap_bd_rate(opus, ours, groups, 0.1, 200, 0.95, 0) is not None
    assert bootstrap_bd_rate(opus, crossed, groups, 0.1, 200, 0.95, 0) is None


@pytest.mark.slow
def test_intervals_of_means_hold_the_truth_as_often_as_they_say() -> None:
    """40 speakers of one to six clips, whose own levels differ: 95 % within 2 %."""
    held, runs = 0, 1_500
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        counts = rng.integers(1, 7, 40)
        speaker = np.repeat(np.arange(40), counts)
        values = (
            3 + 0.5 * rng.standard_normal(40)[speaker] + 0.3 * rng.standard_normal(len(speaker))
        )
        low, high = bootstrap_mean(values, speaker.astype(str), 600, 0.95, seed)
        held += low <= 3 <= high
    assert held / runs == pytest.approx(0.95, abs=0.02)


def test_paired_test_counts_speakers_and_not_clips() -> None:
    rng = np.random.default_rng(0)
    speakers = np.arange(12).astype(str)
    ours = rng.standard_normal(12)
    theirs = ours - 0.3 - 0.4 * rng.standard_normal(12)
    once = paired(ours, theirs, speakers, 500, 0.95, 0)
    tenfold = paired(*(np.repeat(x, 10) for x in (ours, theirs, speakers)), 500, 0.95, 0)
    assert once.p == pytest.approx(scipy.stats.wilcoxon(ours - theirs).pvalue)
    assert tenfold.p == pytest.approx(once.p)
    assert (once.groups, tenfold.groups) == (12, 12)
    assert once.low < once.difference < once.high
    few = paired(ours[:5], theirs[:5], speakers[:5], 500, 0.95, 0)
    assert few.p is None
    assert few.reason == "5 speakers or recordings, 6 are needed"
    unscored = paired(np.where(np.arange(12) < 2, np.nan, ours), theirs, speakers, 500, 0.95, 0)
    assert unscored.groups == 10
    assert paired(ours, ours, speakers, 500, 0.95, 0).p == 1


def test_holm_s_correction_of_a_known_example() -> None:
    found = holm(np.array([0.01, np.nan, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, np.nan, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_scores_between_two_points_are_interpolated_over_the_logarithm() -> None:
    scores = np.array([[4.0, 2.0], [1.0, 0.0], [2.0, 1.0]])
    rates = np.array([16.0, 4.0, 8.0])
    np.testing.assert_allclose(at_rate(rates, scores, 4 * 2**0.5), [1.5, 0.5])
    np.testing.assert_allclose(at_rate(rates, scores, 8.0), [2.0, 1.0])
    np.testing.assert_allclose(at_rate(rates, scores, 16.0), [4.0, 2.0])
    assert np.isnan(at_rate(rates, scores, 3.9)).all()
    assert np.isnan(at_rate(rates, scores, 16.1)).all()
