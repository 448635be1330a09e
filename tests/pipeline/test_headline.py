"""Headlines that cannot flatter: planted runs, and what is said of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.params import Statistics
from pipeline.report.tables import bars, cards
from pipeline.results.comparisons import Bench
from pipeline.results.crossing import standing
from pipeline.results.envelope import upper_envelope
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
        "Over all kinds, against Opus at one setting alone at equal bitrate, the neural codec is "
        "ahead at every rate from 6.0 to 22.0 kbps by ViSQOL audio and Zimtohrli. For the same "
        "score it needs "
    )
    assert "less by ViSQOL audio" in better
    assert "2.40 to 4.20" in better
    worse = said({"opus": judged(*OPUS), "neural": judged(1.5, 2.3, 3.0, 3.6)})
    assert "behind at every rate from 6.0 to 22.0 kbps by ViSQOL audio and Zimtohrli" in worse
    assert "less" not in worse


def test_where_curves_cross_both_sides_are_said() -> None:
    text = said({"opus": judged(*OPUS), "neural": judged(2.3, 2.9, 3.3, 3.6)})
    assert "is ahead below 12.1 kbps (" in text
    assert "and behind above by ViSQOL audio and Zimtohrli." in text
    assert "disagree" not in text
    # The same sides, and another crossing: between the two the judges say opposite things.
    later = {
        "visqol_audio": (2.3, 2.9, 3.3, 3.6),
        "zimtohrli": judged(2.3, 3.0, 3.6, 4.0)["zimtohrli"],
    }
    text = said({"opus": judged(*OPUS), "neural": later})
    assert "ahead below 12.1 kbps" in text
    assert "From 12.1 to 17.5 kbps the judges disagree." in text


def test_judges_that_disagree_are_said_to_and_no_saving_is_claimed() -> None:
    ours = {
        "visqol_audio": (2.4, 3.1, 3.8, 4.5),
        "zimtohrli": judged(1.5, 2.3, 3.0, 3.6)["zimtohrli"],
    }
    text = said({"opus": judged(*OPUS), "neural": ours})
    assert "ahead at every rate from 6.0 to 22.0 kbps by ViSQOL audio" in text
    assert "behind at every rate from 6.0 to 22.0 kbps by Zimtohrli" in text
    assert text.endswith("The judges disagree.")


def test_no_large_number_on_the_page_rests_on_one_judge_or_on_judges_that_disagree() -> None:
    ahead, behind = judged(2.4, 3.1, 3.8, 4.5), judged(1.5, 2.3, 3.0, 3.6)
    alone = {"visqol_audio": ahead["visqol_audio"]}
    split = {**alone, "zimtohrli": behind["zimtohrli"]}
    for ours, why in (
        (ahead, ""),
        (split, "the judges disagree"),
        (alone, "no two judges that work differently have a BD-rate"),
    ):
        made = bench({"opus": judged(*OPUS), "neural": ours})
        (card,) = cards(made.bd_rates(), made.crossings(), ["all"])
        assert card["why"] == why
        assert (card["first"] is None) == bool(why)
        assert len(card["rest"]) == len(ours) - (not why)


def test_the_bar_of_rates_shows_what_the_judges_say_and_no_more() -> None:
    """Ahead, split judges, one judge alone: blue, hatched, nothing."""
    ahead, behind = judged(2.4, 3.1, 3.8, 4.5), judged(1.5, 2.3, 3.0, 3.6)
    alone = {"visqol_audio": ahead["visqol_audio"]}
    split = {**alone, "zimtohrli": behind["zimtohrli"]}
    for ours, expected in (
        (ahead, ["better"]),
        (behind, ["worse"]),
        (split, ["disagree"]),
        (alone, []),
    ):
        made = bench({"opus": judged(*OPUS), "neural": ours})
        found = made.stretches()
        assert [one.judgement for one in found] == expected
        for one in found:
            assert (one.lowest, one.highest) == pytest.approx((6, 22), rel=0.03)
    assert bars([], ["all"], {"all": "All kinds"})["rows"] == []
    found = bench({"opus": judged(*OPUS), "neural": ahead}).stretches()
    (row,) = bars(found, ["all"], {"all": "All kinds"})["rows"]
    (part,) = row["parts"]
    assert part["left"] == pytest.approx(100 * np.log2(6) / 6, abs=1)
    assert part["left"] + part["width"] == pytest.approx(100 * np.log2(22) / 6, abs=1)
    assert row["words"].startswith("Better from ")


def test_a_third_judge_that_disagrees_is_heard_though_it_has_no_bd_rate() -> None:
    """Two would have made a saving."""
    ahead = judged(2.4, 3.1, 3.8, 4.5)
    opus = {**judged(*OPUS), "stoi": (0.90, 0.91, 0.92, 0.93)}
    text = said({"opus": opus, "neural": {**ahead, "stoi": (0.89, 0.90, 0.91, 0.92)}})
    assert "behind at every rate from 6.0 to 22.0 kbps by STOI" in text
    assert text.endswith("The judges disagree.")


@pytest.mark.parametrize("judges", [["visqol_audio"], ["visqol_audio", "visqol_speech"]])
def test_judges_that_work_alike_make_no_headline(judges: list[str]) -> None:
    ours, theirs = (dict.fromkeys(judges, scores) for scores in ((2.4, 3.1, 3.8, 4.5), OPUS))
    text = said({"opus": theirs, "neural": ours})
    assert text.startswith("Over all kinds, nothing is said: no two judges that work differently")
    assert "ahead" not in text
    assert "less" not in text


def test_an_anchor_with_its_bandwidth_starved_does_not_help() -> None:
    """The best of all Opus settings is what counts, rate by rate."""
    starved = {"opus": judged(1.5, 2.0, 2.3, 2.7), "neural": judged(2.0, 2.3, 2.7, 3.0)}
    alone = said(starved)
    assert "against Opus at one setting alone at equal bitrate" in alone
    assert "ahead at every rate" in alone
    best = said({**starved, "opus-band": judged(2.7, 3.0, 3.4, 3.6)})
    assert "against Opus at its best at equal bitrate" in best
    assert "behind at every rate" in best
    mixed = bench({**starved, "opus-band": judged(1.4, 3.0, 3.4, 3.6)})
    ((_, _, anchor, _), _) = mixed._compared()
    assert anchor.point.tolist() == ["opus-0", "opus-band-1", "opus-band-2", "opus-band-3"]


def test_the_best_settings_are_chosen_on_validation_clips_not_on_test_clips() -> None:
    """On the test clips the other series is the better one at every rate."""
    series = {
        "opus": judged(*OPUS),
        "opus-band": judged(2.1, 2.8, 3.5, 4.3),
        "neural": judged(*OPUS),
    }
    seen = bench({"opus": judged(2.5, 3.0, 3.5, 4.4), "opus-band": judged(2.4, 2.9, 3.4, 4.5)})
    validation = seen.curve.assign(n_scored=7)
    tested = bench(series)
    tested = replace(tested, validation=validation[validation.metric == "visqol_audio"])
    by_metric = {row.metric: row for row in tested.envelopes()}
    assert by_metric["visqol_audio"].points == ["opus-0", "opus-1", "opus-2", "opus-band-3"]
    assert by_metric["visqol_audio"].validation_clips == 7
    # No validation clip has a score of the other metric: then what favours Opus.
    assert by_metric["zimtohrli"].points == [f"opus-band-{at}" for at in range(4)]
    assert by_metric["zimtohrli"].validation_clips == 0
    anchor, _ = (anchor for _, _, anchor, _ in tested._compared())
    assert anchor.point.tolist() == by_metric["visqol_audio"].points


def test_settings_that_only_validation_clips_liked_do_not_help() -> None:
    """Opus's own choices count where they are better: of bands that no validation clip had."""
    series = {"opus": judged(*OPUS), "opus-wide": judged(*(one - 1 for one in OPUS)),
              "neural": judged(*(one - 0.5 for one in OPUS))}  # fmt: skip
    liked = {"opus": judged(1.5, 2.0, 2.5, 3.0), "opus-wide": judged(*OPUS)}
    tested = replace(bench(series), validation=bench(liked).curve.assign(n_scored=7))
    assert {tuple(row.points) for row in tested.envelopes()} == {
        tuple(f"opus-{at}" for at in range(4))
    }
    text = " ".join(headline(tested.curve, tested.bd_rates(), tested.crossings()))
    assert "behind at every rate" in text
    assert "ahead" not in text


def test_the_upper_envelope_has_one_setting_for_each_rate() -> None:
    rows = pd.DataFrame(
        [("a", 6.0, 2.0), ("dear", 9.0, 1.9), ("b", 9.0, 3.0), ("near", 9.3, 3.1), ("c", 12.0, 3.1),
         ("none", 7.0, float("nan"))],
        columns=["point", "file_kbps", "mean"],
    )  # fmt: skip
    assert upper_envelope(rows, 1) == ["a", "near"]
    # Where lower is better, one that costs more and is no better is not on it.
    assert upper_envelope(rows, -1) == ["a", "dear"]


def test_a_codec_that_is_better_in_a_corner_is_not_said_to_be_better_at_every_rate() -> None:
    made = bench({"opus": judged(*OPUS), "neural": judged(2.4, 2.5, 2.6, 2.75)})
    slower = dict(zip(RATES, (4.0, 5.0, 6.0, 7.0), strict=True))
    for table, column, unit in ((made.curve, "file_kbps", 1), (made.files, "file_bytes", 250)):
        ours = table["point"].str.startswith("neural")
        table.loc[ours, column] = (table[ours][column] / unit).map(slower) * unit
    rows = made.bd_rates()
    assert {row.percent for row in rows} == {None}
    assert rows[0].reason == "only 16% of the Opus curve's range is common"
    text = " ".join(headline(made.curve, rows, made.crossings()))
    assert "ahead from 6.0 to 7.0 kbps, the only rates that both have, by ViSQOL audio" in text
    assert "every rate" not in text
    assert "less" not in text


def test_what_other_draws_of_clips_do_not_bear_out_is_said_to_be_so() -> None:
    made = bench({"opus": judged(*OPUS), "neural": judged(*(one + 0.01 for one in OPUS))})
    ours = made.scores["point"].str.startswith("neural")
    # One clip alone makes the difference.
    one = made.scores["clip"] == "00"
    made.scores.loc[ours & one, "value"] *= 1.2
    made.scores.loc[ours & ~one, "value"] *= 0.99
    text = " ".join(headline(made.curve, made.bd_rates(), made.crossings()))
    assert " % of resamples)" in text


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
    assert "the neural codec with RVQ is ahead at every rate" in text
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
