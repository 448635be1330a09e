import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codec.errors import UserError
from pipeline.report import page
from pipeline.results import compare, tables
from pipeline.results.comparisons import Bench
from tests.pipeline.test_comparisons import SETTINGS, bench

__all__ = ["bench"]


def save(folder: Path, bench: Bench, saving: float = 1.0, better: float = 0.0) -> None:
    """The run's tables with the neural points at ``saving`` times their rate, and better scores."""
    curve, scores, files = bench.curve.copy(), bench.scores.copy(), bench.files.copy()
    for table, column in ((curve, "file_kbps"), (files, "file_bytes")):
        table.loc[table.point.str.startswith("neural"), column] *= saving
    for table, column in ((curve, "mean"), (scores, "value")):
        table.loc[table.point.str.startswith("neural"), column] += better
    curve = curve.assign(
        low=curve["mean"] - 0.1, high=curve["mean"] + 0.1, n_scored=8, n_total=8, chosen="",
        payload_kbps=curve.file_kbps, estimated_kbps=None, estimate_gap_percent=None,
    )  # fmt: skip
    for name in ("reports", "scores", "coded"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    tables.write(folder / "reports" / "rd.csv", curve)
    for point in set(curve.point):
        tables.write(folder / "scores" / f"{point}.csv", scores[scores.point == point])
        mine = files[files.point == point].drop(columns="point")
        tables.write(folder / "coded" / f"{point}.csv", mine)


def test_a_run_that_takes_a_quarter_less_has_a_bd_rate_of_minus_25(
    bench: Bench, tmp_path: Path
) -> None:
    save(tmp_path / "old", bench)
    save(tmp_path / "new", bench, saving=0.75)
    old, new = (compare.load(str(tmp_path / name)) for name in ("old", "new"))
    found = compare.compare(old, new, SETTINGS, 0)
    row = next(row for row in found["bd_rate"] if (row.metric, row.kind) == ("visqol_audio", "all"))
    assert row.percent == pytest.approx(-25, abs=0.5)
    assert row.low <= row.percent <= row.high
    assert found["headline"].startswith(
        "For the same ViSQOL audio score, new needs 25 % less bitrate than old"
    )
    # Opus is the same in both, and there once; ours is there twice.
    assert set(found["curve"].series) == {"opus", "neural", "neural (old)"}
    page.write_comparison(tmp_path / "page", found)
    html = (tmp_path / "page" / "index.html").read_text()
    assert "neural-b150 (old)" in html
    figures = json.loads(html.split('type="application/json">')[1].split("</script>")[0])["figures"]
    names = {trace.get("name") for trace in figures["visqol_audio all"]["data"]} - {None}
    assert names == {"Neural", "Neural (old)", "Opus"}
    assert (tmp_path / "page" / "assets" / "plotly.min.js").is_file()


def test_a_run_against_itself_differs_in_nothing(bench: Bench, tmp_path: Path) -> None:
    save(tmp_path, bench)
    one = compare.load(str(tmp_path))
    found = compare.compare(one, one, SETTINGS, 0)
    percents = [row.percent for row in found["bd_rate"] if row.percent is not None]
    assert percents
    assert percents == pytest.approx([0] * len(percents), abs=1e-6)
    assert all(row.difference == pytest.approx(0) for row in found["paired"])


def test_revisions_are_read_from_dvc_s_cache(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}

    def run(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, env=environment)

    def commit(message: str) -> None:
        dvc = [sys.executable, "-m", "dvc"]
        run(*dvc, "add", "reports/rd.csv", "scores", "coded")
        run("git", "add", "-A")
        run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", message)

    run("git", "init", "-q")
    run(sys.executable, "-m", "dvc", "init", "-q")
    save(tmp_path, bench)
    commit("first")
    save(tmp_path, bench, better=0.1)
    commit("second")
    found = compare.compare(compare.load("HEAD~1"), compare.load("HEAD"), SETTINGS, 0)
    first = compare.load("HEAD~1").curve
    second = compare.load(".")
    assert second.name == "the working tree"
    moved = second.curve["mean"] - first["mean"]
    assert moved[first.series == "neural"].to_numpy() == pytest.approx(0.1)
    assert all(row.percent < 0 for row in found["bd_rate"] if row.percent is not None)
    with pytest.raises(UserError, match="v9: neither a folder nor a git revision"):
        compare.load("v9")
    run("git", "rm", "-q", "--cached", "coded.dvc")
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "third")
    with pytest.raises(UserError, match=r"HEAD: coded/.* is not there"):
        compare.load("HEAD")


def test_runs_on_other_clips_are_not_compared(bench: Bench, tmp_path: Path) -> None:
    save(tmp_path / "a", bench)
    fewer = bench.files[bench.files["clip"] != "clip03"]
    scores = bench.scores[bench.scores["clip"] != "clip03"]
    save(tmp_path / "b", Bench(bench.curve, scores, fewer, SETTINGS, 0))
    one, other = (compare.load(str(tmp_path / name)) for name in "ab")
    with pytest.raises(UserError, match="a and b were scored on other clips"):
        compare.compare(one, other, SETTINGS, 0)
    with pytest.raises(UserError, match=r"reports/rd\.csv is not there"):
        compare.load(str(tmp_path))
