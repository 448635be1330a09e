"""Headlines that cannot flatter: planted runs, and what is said of them."""

import pandas as pd
import pytest

from pipeline.params import Statistics
from pipeline.results.comparisons import Bench
from pipeline.results.crossing import standing
from pipeline.results.headline import headline

SETTINGS = Statistics(resamples=100, confidence=0.95, min_overlap=0.5)
RATES = (6.0, 9.0, 14.0, 22.0)
OPUS = (2.0, 2.7, 3.4, 4.2)
CLIPS = [f"{number:02}" for number in range(10)]


def bench(series: dict[str, dict[str, tuple[float, ...]]], kinds: str = "all") -> Bench:
    """Scores by series and metric at four rates, on ten clips that are much alike."""
    rows, files, curve = [], [], []
    for name, metrics in series.items():
        for at, kbps in enumerate(RATES):
            point = f"{name}-{at}"
            for index, clip in enumerate(CLIPS):
                common = {"point": point, "clip": clip, "kind": "music", "source": clip}
                files.append({**common, "seconds": 2.0, "file_bytes": kbps * 250})
                rows += [
                    {**common, "metric": metric, "value": means[at] * (1 + 1e-3 * (index - 4.5))}
                    for metric, means in metrics.items()
                ]
            curve += [
                {"point": point, "series": name, "metric": metric, "kind": kinds,
                 "mean": means[at], "file_kbps": kbps}
                for metric, means in metrics.items()
            ]  # fmt: skip
    tables = (pd.DataFrame(table) for table in (curve, rows, files))
    return Bench(*tables, SETTINGS, 0)


def judged(*scores: float) -> dict[str, tuple[float, ...]]:
    """Two judges that agree."""
    return {"visqol_audio": scores, "zimtohrli": tuple(0.03 - 0.006 * one for one in scores)}


def said(series: dict[str, dict[str, tuple[float, ...]]]) -> str:
    made = bench(series)
    return " ".join(headline(made.curve, made.bd_rates(), made.crossings()))


def test_ahead_and_behind_at_every_rate_are_said_in_those_words() -> None:
    better = said({"opus": judged(*OPUS), "neural": judged(2.4, 3.1, 3.8, 4.5)})
    assert better.startswith(
        "Over all kinds, against Opus at equal bitrate, the neural codec: ahead at every rate from "
        "6.0 to 22.0 kbps by ViSQOL audio and Zimtohrli. For the same score it needs "
    )
    assert "less by ViSQOL audio" in better
    assert "2.40 to 4.20" in better
    worse = said({"opus": judged(*OPUS), "neural": judged(1.5, 2.3, 3.0, 3.6)})
    assert "behind at every rate from 6.0 to 22.0 kbps by ViSQOL audio and Zimtohrli" in worse
    assert "less" not in worse


def test_where_curves_cross_both_sides_are_said() -> None:
    text = said({"opus": judged(*OPUS), "neural": judged(2.3, 2.9, 3.3, 3.6)})
    assert "by ViSQOL audio it is ahead below 12.1 kbps (" in text
    assert "and behind above" in text
    assert "disagree" not in text


def test_judges_that_disagree_are_said_to_and_no_saving_is_claimed() -> None:
    ours = {
        "visqol_audio": (2.4, 3.1, 3.8, 4.5),
        "zimtohrli": judged(1.5, 2.3, 3.0, 3.6)["zimtohrli"],
    }
    text = said({"opus": judged(*OPUS), "neural": ours})
    assert "by ViSQOL audio it is ahead at every rate" in text
    assert "by Zimtohrli it is behind at every rate" in text
    assert text.endswith("The judges disagree.")


def test_one_judge_alone_makes_no_saving() -> None:
    one = {"visqol_audio": OPUS}, {"visqol_audio": (2.4, 3.1, 3.8, 4.5)}
    text = said(dict(zip(("opus", "neural"), one, strict=True)))
    assert text.endswith("That is one judge alone.")


def test_an_anchor_with_its_bandwidth_starved_does_not_help() -> None:
    """The best of all Opus settings is what counts, rate by rate."""
    starved = {"opus": judged(1.5, 2.0, 2.3, 2.7), "neural": judged(2.0, 2.3, 2.7, 3.0)}
    assert "ahead at every rate" in said(starved)
    assert "behind at every rate" in said({**starved, "opus-band": judged(2.7, 3.0, 3.4, 3.6)})
    mixed = bench({**starved, "opus-band": judged(1.4, 3.0, 3.4, 3.6)})
    ((_, _, anchor, _), _) = mixed._compared()
    assert anchor.point.tolist() == ["opus-0", "opus-band-1", "opus-band-2", "opus-band-3"]


def test_curves_that_overlap_in_a_tenth_of_mos_have_no_bd_rate() -> None:
    made = bench({"opus": {"visqol_audio": (2.0, 2.03, 2.06, 2.1)},
                  "neural": {"visqol_audio": (2.01, 2.05, 2.08, 2.12)}})  # fmt: skip
    (row,) = made.bd_rates()
    assert row.percent is None
    assert row.reason == "the curves share a range of 0.09, too little: 0.54 are needed"


def test_without_common_rates_or_scores_it_says_so() -> None:
    empty = bench({"opus": judged(*OPUS), "neural": judged(*OPUS)}).curve.assign(mean=float("nan"))
    assert "nothing to say" in headline(empty, [], [])[0]


def test_a_run_of_rvq_or_of_anchors_alone_is_said_to_be_that() -> None:
    """Not that no clip could be scored."""
    made = bench({"opus": judged(*OPUS), "rvq": judged(2.4, 3.1, 3.8, 4.5)})
    found = Bench(made.curve, made.scores, made.files, SETTINGS, 0, tested="rvq")
    text = headline(made.curve, found.bd_rates(), found.crossings())[0]
    assert "the neural codec with RVQ: ahead at every rate" in text
    for series, words in (("opus", "no point of the neural codec"), ("neural", "no point of Opus")):
        assert words in headline(made.curve.assign(series=series), [], [])[0]


@pytest.mark.parametrize(
    ("ours", "side", "kbps"),
    [
        ((2, 3), "ahead", None),
        ((0, 1), "behind", None),
        ((2, 1), "below", 10.0),
        ((0.5, 2.5), "above", 10.0),
    ],
)
def test_which_side_of_a_line_another_one_lies_on(ours, side, kbps) -> None:
    found = standing(([1.0, 100.0], [1.0, 2.0]), ([1.0, 100.0], ours))
    assert (found.side, found.lowest, found.highest) == (side, pytest.approx(1), pytest.approx(100))
    assert found.kbps == (None if kbps is None else pytest.approx(kbps))
    assert standing(([1.0, 2.0], [1.0, 2.0]), ([3.0, 4.0], ours)).side is None
