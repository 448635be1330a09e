import copy
from pathlib import Path
from typing import Any

import pytest

from codec.errors import UserError
from pipeline.params import Check
from pipeline.results import gate
from pipeline.results.summary import Baseline, Summary, read, read_baseline, write
from tests.conftest import ROOT

TOLERANCES = Check(
    baseline="baseline.json", metrics={"visqol_audio": 0.1, "stoi": 0.02}, rate_percent=5.0,
    estimate_gap_percent=1.0, speed_percent=30.0, memory_percent=20.0,
)  # fmt: skip
SPEED = {"neural-b": {"encoding against Opus": 1.2, "decoding against Opus": 0.5, "peak MB": 400.0}}


@pytest.fixture
def summary() -> dict[str, Any]:
    def point(gap: float | None) -> dict[str, Any]:
        return {
            "about": {},
            "series": "any",
            "delay_ms": None,
            "chosen": "",
            "compression": 10.0,
            "rates": {"all": {"file_kbps": 6.0, "estimate_gap_percent": gap}},
            "metrics": {
                "visqol_audio": {"all": {"mean": 3.0, "n_scored": 10}},
                "stoi": {"speech": {"mean": 0.8, "n_scored": 5}},
            },
        }

    return {
        "points": {"neural-b": point(0.1), "opus-6": point(None)},
        "test": {"fingerprint": "abc", "clips": 10, "seconds": 9.0, "corpus": {"seed": 0}},
        "speed": SPEED,
        "history": [{"reason": "first", "revision": "1", "date": "2026-01-01"}],
    }


def summary_of(tree: dict[str, Any]) -> Summary:
    empty = {"headline": [], "verdicts": {}, "bd_rate": [], "paired": [], "ablations": []}
    return Summary(**empty, unscored=[], points=tree["points"], test=tree["test"])


def baseline_of(tree: dict[str, Any]) -> Baseline:
    points = {
        name: {key: point[key] for key in ("metrics", "rates")}
        for name, point in tree["points"].items()
    }
    return Baseline.model_validate({**tree, "points": points})


def compared(tree: dict[str, Any], before: dict[str, Any]) -> list[gate.Finding]:
    return gate.findings(summary_of(tree), tree["speed"], baseline_of(before), TOLERANCES)


def worse(tree: dict[str, Any], before: dict[str, Any]) -> list[str]:
    return [str(finding) for finding in compared(tree, before) if finding.worse]


def test_the_same_summary_passes(summary: dict[str, Any]) -> None:
    assert worse(summary, summary) == []
    assert "Nothing became worse" in gate.markdown(compared(summary, summary), "")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "metrics visqol_audio all mean",
            2.89,
            "visqol_audio of neural-b (all): before 3, after 2.89",
        ),
        ("metrics stoi speech mean", 0.77, "stoi of neural-b (speech): before 0.8, after 0.77"),
        ("metrics stoi speech mean", None, "stoi of neural-b (speech): before 0.8, after none"),
        ("metrics stoi speech n_scored", 4, "stoi scored clips of neural-b (speech): before 5"),
        ("rates all file_kbps", 6.4, "file kbps of neural-b (all): before 6, after 6.4"),
        ("rates all estimate_gap_percent", -1.5, "estimate gap % of neural-b (all)"),
    ],
)
def test_each_kind_of_regression_is_found(
    summary: dict[str, Any], path: str, value: float | None, message: str
) -> None:
    changed = copy.deepcopy(summary)
    node = changed["points"]["neural-b"]
    *parents, last = path.split()
    for key in parents:
        node = node[key]
    node[last] = value
    found = worse(changed, summary)
    assert len(found) == 1
    assert found[0].startswith(message)
    assert "1 of" in gate.markdown(compared(changed, summary), "")


def test_small_changes_and_improvements_pass(summary: dict[str, Any]) -> None:
    changed = copy.deepcopy(summary)
    changed["points"]["neural-b"]["metrics"]["visqol_audio"]["all"]["mean"] = 2.91
    changed["points"]["opus-6"]["metrics"]["visqol_audio"]["all"]["mean"] = 4.5
    changed["points"]["opus-6"]["rates"]["all"]["file_kbps"] = 6.2
    assert worse(changed, summary) == []


def test_a_point_that_is_gone_is_a_regression(summary: dict[str, Any]) -> None:
    changed = copy.deepcopy(summary)
    del changed["points"]["opus-6"]
    assert worse(changed, summary) == [
        "the point of opus-6 (all): before 1, after none, tolerance 0"
    ]


def test_fewer_or_other_clips_are_a_regression(summary: dict[str, Any]) -> None:
    changed = copy.deepcopy(summary)
    changed["test"] |= {"clips": 9, "fingerprint": "other"}
    assert worse(changed, summary) == [
        "test clips of the corpus (all): before 10, after 9, tolerance 0",
        "the same clips of the corpus (all): before 1, after none, tolerance 0",
    ]


@pytest.mark.parametrize(
    ("what", "value", "fails"),
    [
        ("decoding against Opus", 0.34, True),
        ("decoding against Opus", 0.36, False),
        ("encoding against Opus", 2.0, False),
        ("peak MB", 481.0, True),
        ("peak MB", 300.0, False),
    ],
)
def test_speed_and_memory_have_their_tolerance(
    summary: dict[str, Any], what: str, value: float, fails: bool
) -> None:
    changed = copy.deepcopy(summary)
    changed["speed"]["neural-b"][what] = value
    assert bool(worse(changed, summary)) is fails
    changed["speed"] = {}
    assert len(worse(changed, summary)) == 3  # not measured any more


def test_speeds_are_ratios_to_opus_s_of_the_same_run(tmp_path: Path) -> None:
    path = tmp_path / "speed.csv"
    path.write_text(
        "point,series,encode_x,decode_x,peak_mb\nneural-b,neural,120,50,400\nopus-6,opus,100,200,90\n"
    )
    assert gate.read_speed(path) == {
        "neural-b": {
            "encoding against Opus": pytest.approx(1.2),
            "decoding against Opus": pytest.approx(0.25),
            "peak MB": 400.0,
        }
    }
    with pytest.raises(UserError, match="no such file"):
        gate.read_speed(tmp_path / "none.csv")


def test_another_corpus_is_not_compared(summary: dict[str, Any]) -> None:
    other = copy.deepcopy(summary)
    other["test"]["corpus"] = {"seed": 1}
    assert "another test corpus" in gate.not_comparable(summary_of(other), baseline_of(summary))
    assert "no baseline" in gate.not_comparable(summary_of(summary), None)
    assert gate.not_comparable(summary_of(summary), baseline_of(summary)) == ""


def test_the_table_has_what_is_worse_first_and_then_what_is_near(summary: dict[str, Any]) -> None:
    changed = copy.deepcopy(summary)
    changed["points"]["neural-b"]["metrics"]["visqol_audio"]["all"]["mean"] = 2.5
    changed["points"]["neural-b"]["rates"]["all"]["file_kbps"] = 6.2
    findings = compared(changed, summary)
    lines = gate.table(findings).splitlines()
    assert lines[1].split()[:3] == ["WORSE", "visqol_audio", "neural-b"]
    assert lines[2].split()[:4] == ["ok", "file", "kbps", "neural-b"]
    page = gate.markdown(findings, "", "first")
    assert "**1 of" in page
    assert "The baseline's reason: first" in page
    changed["points"]["neural-b"]["metrics"]["visqol_audio"]["all"]["mean"] = 3.5
    page = gate.markdown(compared(changed, summary), "")
    assert "Nothing became worse" in page
    assert "Better by more than the tolerance: 1 values" in page


def test_update_writes_what_compare_reads_and_keeps_all_reasons(
    summary: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "baseline.json"
    gate.update(summary_of(summary), SPEED, path, "because", "abc of today", "2026-11-23")
    found = gate.findings(summary_of(summary), SPEED, read_baseline(path), TOLERANCES)
    assert not any(finding.worse for finding in found)
    gate.update(summary_of(summary), SPEED, path, "again", "def of today", "2026-11-24")
    history = read_baseline(path).history
    assert [one.reason for one in history] == ["again", "because"]
    before = path.read_bytes()
    with pytest.raises(UserError, match="--reason"):
        gate.update(summary_of(summary), SPEED, path, " ", "x", "y")
    assert path.read_bytes() == before
    for text, words in (
        ("[]", "not a JSON object"), ("{", "not JSON"), ('{"points": {}}', "not a baseline of"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            read_baseline(path)
    path.write_text("{}\n")
    assert read_baseline(path) is None
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "absent.json")


@pytest.mark.parametrize("name", ["baseline.json", "baseline-ci.json"])
def test_the_baselines_that_come_with_rdcodec_are_read(name: str) -> None:
    found = read_baseline(ROOT / "reports" / name)
    assert found is not None
    assert found.points
    assert found.history


def test_a_summary_of_another_version_is_refused_in_one_line(
    summary: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "summary.json"
    write(path, summary_of(summary))
    assert read(path) == summary_of(summary)
    text = path.read_text()
    for changed, message in (
        (text.replace('"version": 2', '"version": 1'), "version 1 of a summary, and this rdcodec"),
        (text.replace('"version": 2', '"other": 1'), "version 0 of a summary"),
        (text.replace('"n_scored": 10', '"n_scored": null'), "n_scored: "),
    ):
        assert changed != text
        path.write_text(changed)
        with pytest.raises(UserError, match=message) as error:
            read(path)
        assert "\n" not in str(error.value)
