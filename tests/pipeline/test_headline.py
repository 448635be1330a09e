import pandas as pd

from pipeline.results.headline import headline
from pipeline.results.summary import BdRate


def curve(rows: list[tuple[str, str, str, float, float]]) -> pd.DataFrame:
    """(series, metric, kind, file kbps, mean) rows as aggregate makes them."""
    table = pd.DataFrame(rows, columns=["series", "metric", "kind", "file_kbps", "mean"])
    return table.assign(low=table["mean"] - 0.1, high=table["mean"] + 0.1)


def bd_rate(percent: float | None) -> BdRate:
    return BdRate(
        metric="visqol_audio", kind="all", percent=percent, quality=None, overlap=None, reason="",
        low=None, high=None,
    )  # fmt: skip


OPUS = [("opus", "visqol_audio", "all", 6.0, 2.0), ("opus", "visqol_audio", "all", 24.0, 4.0)]


def test_equal_rate_is_read_from_the_curve() -> None:
    found = headline(curve([*OPUS, ("neural", "visqol_audio", "all", 12.0, 2.5)]), [])
    # Half-way between 6 and 24 on the logarithm.
    assert found == [
        "At 12.0 kbps of file it scores 2.50 (2.40 to 2.60); Opus, interpolated at that rate, 3.00."
    ]


def test_outside_opus_s_range_nothing_is_extrapolated() -> None:
    found = headline(curve([*OPUS, ("neural", "visqol_audio", "all", 3.0, 2.2)]), [])
    assert "Opus scores 2.00 (1.90 to 2.10) at its lowest, 6.0 kbps." in found[0]


def test_bd_rate_comes_first_and_says_which_way() -> None:
    table = curve([*OPUS, ("neural", "visqol_audio", "all", 3.0, 2.2)])
    for percent, words in [(-31.4, "31 % less bitrate"), (12.0, "12 % more bitrate")]:
        assert words in headline(table, [bd_rate(percent)])[0]
    assert "bitrate than Opus" not in headline(table, [bd_rate(None)])[0]


def test_speech_metrics_that_disagree_are_said() -> None:
    rows = [*OPUS, ("neural", "visqol_audio", "all", 12.0, 2.5)]
    for metric, ours in [("pesq_wb", (1.0, 1.1)), ("stoi", (0.9, 0.95)), ("visqol_speech", (1, 4))]:
        low, high = (0.5, 0.6) if metric == "stoi" else (2.0, 3.0)
        rows += [("opus", metric, "speech", 6.0, low), ("opus", metric, "speech", 24.0, high)]
        rows += [
            ("neural", metric, "speech", 8.0, ours[0]),
            ("neural", metric, "speech", 16.0, ours[1]),
        ]
    assert headline(curve(rows), [])[-1] == (
        "On speech, at equal bitrate, it is ahead of Opus by STOI; behind Opus by PESQ-WB; "
        "partly ahead of Opus by ViSQOL speech."
    )


def test_without_scores_it_says_so() -> None:
    nothing = [(name, "visqol_audio", "all", 6.0, float("nan")) for name in ("opus", "neural")]
    assert "nothing to say" in headline(curve(nothing), [])[0]


def test_a_run_of_rvq_or_of_anchors_alone_is_said_to_be_that() -> None:
    """Not that no clip could be scored."""
    rvq = headline(curve([*OPUS, ("rvq", "visqol_audio", "all", 12.0, 2.5)]), [])
    assert rvq[0].startswith("At 12.0 kbps of file it scores 2.50")
    assert headline(curve(OPUS), []) == [
        "This run has no point of the neural codec's own curves: it only shows the others."
    ]
    ours = curve([("neural", "visqol_audio", "all", 12.0, 2.5)])
    assert headline(ours, []) == [
        "This run has no point of Opus, so there is nothing to compare with."
    ]
