"""What metrics are worth: ratings read, correlations and pairs counted, tables and page made."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from codec import audio
from codec.errors import UserError
from pipeline.cli import app
from pipeline.metrics import scoring, selftest
from pipeline.report import page
from pipeline.results import ratings, tables, worth
from pipeline.results.listening import Rated, Result
from tests.browser import site
from tests.conftest import ROOT, recorded, tone

DOCS = ROOT / "docs/metrics.md"
MUSHRA = Path("tests/golden/mushra.csv")
"""Ratings and scores of 112 stimuli, whose source docs/metrics.md names (CC BY 4.0)."""
RATE = 16_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two references with three stimuli each, of which noise tells the order; rows of ratings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    rng = np.random.default_rng(0)
    lines = ["Reference;stimulus;system;codec;rating"]
    for index in range(2):
        wave = tone(0.6, RATE, 220 + 110 * index)
        audio.write(tmp_path / f"heard/{index}.flac", wave, RATE)
        for system, noise, rated in (("a", 0.001, 90), ("b", 0.01, 60), ("c", 0.1, 20)):
            noisy = wave + noise * rng.standard_normal(wave.shape).astype(np.float32)
            audio.write(tmp_path / f"heard/{index}{system}.flac", noisy, RATE)
            codec = "" if system == "c" else "ab"
            # Two listeners, whose mean counts.
            for rating in (rated - 5, rated + 5):
                lines.append(f"{index}.flac;{index}{system}.flac;{system};{codec};{rating}")
    (tmp_path / "heard/ratings.csv").write_text("\n".join(lines))
    return tmp_path / "heard"


def by_hand(scores: Iterable[float], rated: Iterable[float], metric: str = "si_sdr") -> Any:
    """The worth of a metric by two stimuli of each of two references, of systems a1, a2 or b."""
    rows = zip(scores, rated, ["r", "r", "r", "s", "s", "s"], ["a1", "a2", "b"] * 2, strict=True)
    table = pd.DataFrame(rows, columns=["value", "rating", "reference", "system"])
    table = table.assign(codec=table.system.str[0], metric=metric)
    (found,) = ratings.worth(table.astype({"value": float}), 10)
    return found


def test_a_metric_that_orders_as_listeners_do_is_worth_one() -> None:
    rated = [20, 40, 60, 25, 45, 65]
    found = by_hand([2, 4, 6, 2.5, 4.5, 6.5], rated)
    for value in (found.pearson, found.spearman, found.systems_pearson, found.systems_spearman):
        assert value == pytest.approx(1)
    assert (found.one_codec_pairs, found.one_codec_alike) == (2, 1)
    assert (found.codecs_pairs, found.codecs_alike) == (4, 1)
    # The same of a distance, where less is better.
    assert by_hand([6, 4, 2, 6, 4, 2], rated, "zimtohrli").codecs_alike == 1
    assert by_hand([2, 4, 6, 2, 4, 6], rated, "zimtohrli").spearman < -0.9


def test_pairs_are_of_one_reference_far_enough_apart_and_told_from_one_another() -> None:
    # r: a2 over a1 by 10, b over a1 by 15, b over a2 by only 5. s: all three pairs count.
    found = by_hand([3, 2, 5, 1, 2, 1], [20, 30, 35, 20, 40, 60])
    # One codec: wrong in r, right in s. Different codecs: right in r; a tie is no order, one wrong.
    assert (found.one_codec_pairs, found.one_codec_alike) == (2, 0.5)
    assert (found.codecs_pairs, found.codecs_alike) == (3, pytest.approx(1 / 3))
    assert found.pearson == pytest.approx(
        np.corrcoef([3, 2, 5, 1, 2, 1], [20, 30, 35, 20, 40, 60])[0, 1]
    )
    means = np.corrcoef([2, 2, 3], [20, 35, 47.5])[0, 1]
    assert found.systems_pearson == pytest.approx(means)


def test_what_has_no_score_is_counted_and_what_says_nothing_is_no_number() -> None:
    found = by_hand([1, 2, np.nan, 3, 4, np.nan], [20, 40, 60, 25, 45, 65])
    assert (found.n_scored, found.n_total, found.systems) == (4, 6, 2)
    assert (found.systems_pearson, found.codecs_pairs, found.codecs_alike) == (None, 0, None)
    assert found.pearson is not None
    same = by_hand([1] * 6, [20, 40, 60, 25, 45, 65])
    assert (same.pearson, same.spearman, same.codecs_alike) == (None, None, 0)
    none = by_hand([np.nan] * 6, [20, 40, 60, 25, 45, 65])
    assert (none.n_scored, none.pearson, none.one_codec_alike) == (0, None, None)
    assert "| – |" in worth.markdown([none])


def test_ratings_of_a_stimulus_are_averaged(folder: Path) -> None:
    found = ratings.read(folder / "ratings.csv", folder).set_index("stimulus")
    assert found.rating.to_dict() == {
        f"{index}{system}.flac": rating
        for index in range(2)
        for system, rating in (("a", 90), ("b", 60), ("c", 20))
    }
    assert found.codec.to_list() == ["ab", "ab", "c"] * 2
    assert set(found.kind) == {"general"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("reference,stimulus,system\n0.flac,0a.flac,a\n", "has no column `rating`"),
        ("reference,stimulus,system,rating\n", "has no row"),
        ("reference,stimulus,system,rating\n0.flac,,a,3\n", "line 2: column `stimulus` is empty"),
        (
            "reference,stimulus,system,rating\n0.flac,0a.flac,a,50\n0.flac,0b.flac,b,good\n",
            "line 3, column rating: 'good' is no number",
        ),
        (
            "reference,stimulus,system,rating\n0.flac,0a.flac,a,nan\n",
            "line 2, column rating: 'nan' is no number",
        ),
        (
            "reference,stimulus,system,rating\n0.flac,none.flac,a,50\n",
            r"line 2, column stimulus: .*none\.flac: no such file",
        ),
        (
            "reference,stimulus,system,rating\n0.flac,0.flac,reference,100\n",
            "line 2, column stimulus: is its own reference",
        ),
        (
            "reference,stimulus,system,rating,kind\n0.flac,0a.flac,a,50,noise\n",
            "line 2, column kind: 'noise'; use speech, music, general",
        ),
        (
            "reference,stimulus,system,rating\n0.flac,0a.flac,a,50\n1.flac,0a.flac,a,50\n",
            r"line 3, column reference: '1\.flac', and 0a\.flac had '0\.flac' above",
        ),
        (
            "reference,stimulus,system,rating,codec\n0.flac,0a.flac,a,5,x\n0.flac,0b.flac,a,5,y\n",
            "line 3, column codec: 'y', and a had 'x' above",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_column(
    folder: Path, table: str, words: str
) -> None:
    path = folder / "mine.csv"
    path.write_text(table)
    with pytest.raises(UserError, match=rf"mine\.csv: .*{words}"):
        ratings.read(path, folder)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Work in this process; a list that says whether the metrics were tested first."""
    tested: list[str] = []

    def each(work: Callable[[Any], Any], items: Iterable[Any], _: int) -> Iterator[Any]:
        return ((item, work(item)) for item in items)

    def score(pairs: list[scoring.Pair], settings: Any) -> Iterator[Any]:
        return zip([pair.name for pair in pairs], scoring.score_piece(pairs), strict=True)

    monkeypatch.setattr(ratings, "each", each)
    monkeypatch.setattr(scoring, "score", score)
    monkeypatch.setattr(selftest, "require", lambda: tested.append("tested"))
    return tested


def test_the_command_scores_and_writes_its_tables(folder: Path, here: list[str]) -> None:
    wave, _ = audio.read(folder / "0.flac")
    audio.write(folder / "short.flac", wave[:, 100:], RATE)
    audio.write(folder / "silent.flac", 0 * wave, RATE)
    audio.write(folder / "slow.flac", wave, 8000)
    (folder / "text.flac").write_text("no audio")
    with (folder / "ratings.csv").open("a") as table:
        for name in ("short", "silent", "slow", "text"):
            table.write(f"\n0.flac;{name}.flac;{name};;10")
    found = CliRunner().invoke(app, ["metrics", str(folder), "--out", "out"])
    assert found.exit_code == 0, found.output
    assert here == ["tested"]
    assert "| Zimtohrli | 6 of 10 | " in found.stdout
    assert "PESQ-WB: made for speech, and no stimulus is of that kind" in found.stdout
    assert "Zimtohrli: 1 without a score: silent degraded signal" in found.stdout
    assert "1 × 9500 samples, its reference 1 × 9600: cut one of them" in found.stdout
    assert "at 8000 Hz, its reference at 16000: resample one of them" in found.stdout
    assert re.search(r"1 without a score: .*text\.flac", found.stdout)
    assert Path("out/metrics.md").read_text() in found.stdout
    scores = tables.read(Path("out/scores.csv"))
    assert len(scores) == 10 * 3  # ViSQOL audio, Zimtohrli, SI-SDR
    metrics = tables.read(Path("out/metrics.csv")).set_index("metric")
    assert metrics.spearman["si_sdr"] == pytest.approx(
        scores[(scores.metric == "si_sdr")].value.corr(
            scores[scores.metric == "si_sdr"].rating, method="spearman"
        ),
        abs=1e-4,
    )
    assert metrics.codecs_alike["si_sdr"] == metrics.one_codec_alike["si_sdr"] == 1


def test_a_system_that_is_late_is_named() -> None:
    table = pd.DataFrame({
        "stimulus": ["1", "2", "3", "4", "5"],
        "system": ["late"] * 3 + ["in step"] * 2,
        "metric": "si_sdr",
        "value": 1.0,
        "delay_ms": [8.0, 10.0, np.nan, 0.0, 0.5],
    })  # fmt: skip
    (said,) = (note for note in ratings.notes(table) if "ms" in note)
    assert said.startswith("late is +9.0 ms late (median of 2 of its 3 stimuli")


def test_what_cannot_be_is_one_line(folder: Path) -> None:
    for words, said in (
        (["none"], "none: no such folder"),
        ([str(folder), "--ratings", "none.csv"], "none.csv: no such file"),
        ([str(folder), "--apart", "0"], "--apart 0: points, more than 0"),
    ):
        found = CliRunner().invoke(app, ["metrics", *words])
        assert isinstance(found.exception, UserError)
        assert said in str(found.exception)


def mushra() -> pd.DataFrame:
    """Its rows, one for each stimulus and metric."""
    wide = pd.read_csv(ROOT / MUSHRA)
    about = ["stimulus", "reference", "system", "codec", "rating"]
    return wide.melt(about, var_name="metric", value_name="value")


def test_the_kept_table_is_what_scores_and_ratings_say() -> None:
    known = {one.metric: one for one in worth.read().rated.metrics}
    for found in ratings.worth(mushra(), 10):
        expected = known.pop(found.metric)
        assert found.model_dump(exclude={"metric"}) == pytest.approx(
            expected.model_dump(exclude={"metric"}), abs=2e-4
        )
    assert not known


def test_the_docs_show_what_is_kept() -> None:
    known, docs = worth.read(), DOCS.read_text()
    assert worth.markdown(known.rated.metrics) in docs
    assert worth.published_markdown(known.published) in docs


def test_the_docs_make_the_table_of_the_rated_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the scores that are kept are those of the recordings."""
    monkeypatch.chdir(tmp_path)
    Path("mushra").symlink_to(recorded("mushra"))
    make, *_ = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    exec(make, {})
    found = ratings.read(Path("ratings.csv"), Path("mushra")).set_index("stimulus")
    kept = pd.read_csv(ROOT / MUSHRA).set_index("stimulus")
    found.index = found.index.str.removeprefix("audio/")
    assert found.rating.to_dict() == pytest.approx(kept.rating.to_dict(), abs=1e-3)
    assert found.codec.to_dict() == kept.codec.to_dict()
    name = "stim_01/lyra_6.flac"
    pair = scoring.Pair(name, "speech", "mushra/audio/stim_01/ref.flac", f"mushra/audio/{name}")
    for row in scoring.score_pair(pair):
        if row["metric"] in kept:  # not of other packages
            assert row["value"] == pytest.approx(kept.loc[name, row["metric"]], rel=1e-3)


@pytest.mark.parametrize(
    ("listened", "words"),
    [
        (None, "No listener has judged\nthis codec yet"),
        (
            Result([], [Rated("neural-b050", 61.5, None, None, 1, 8)], []),
            "clips of this run: neural-b050: rated 61.5, 8 ratings of 1 listeners.",
        ),
    ],
)
def test_the_page_shows_what_the_metrics_are_worth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listened: Result | None, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page.plotly.offline, "get_plotlyjs", lambda: "")
    html = site.build(tmp_path, count=3, listened=listened).read_text()
    assert words in html
    for one in worth.read().rated.metrics:
        assert "".join(f"<td>{cell}</td>" for cell in worth.cells(one)[1:]) in html
    for figure in worth.read().published:
        assert f'<td class="text">{figure.figure}</td>' in html
