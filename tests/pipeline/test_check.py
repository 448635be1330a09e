import copy
from pathlib import Path
from typing import Any

import pytest

from codec.errors import UserError
from pipeline import check
from pipeline.params import Check

TOLERANCES = Check(
    metrics={"visqol_audio": 0.1, "stoi": 0.02}, rate_percent=5.0, estimate_gap_percent=1.0
)


@pytest.fixture
def summary() -> dict[str, Any]:
    def point(gap: float | None) -> dict[str, Any]:
        return {
            "rates": {"all": {"file_kbps": 6.0, "estimate_gap_percent": gap}},
            "metrics": {
                "visqol_audio": {"all": {"mean": 3.0, "n_scored": 10}},
                "stoi": {"speech": {"mean": 0.8, "n_scored": 5}},
            },
        }

    return {
        "points": {"neural-b": point(0.1), "opus-6": point(None)},
        "test": {"fingerprint": "abc"},
    }


def worse(summary: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    return [str(f) for f in check.compare(summary, baseline, TOLERANCES) if f.worse]


def test_the_same_summary_passes(summary: dict[str, Any]) -> None:
    assert worse(summary, summary) == []
    assert "Nothing became worse" in check.markdown(check.compare(summary, summary, TOLERANCES), "")


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
    assert "1 of" in check.markdown(check.compare(changed, summary, TOLERANCES), "")


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


def test_another_corpus_is_not_compared(summary: dict[str, Any]) -> None:
    other = copy.deepcopy(summary)
    other["test"]["fingerprint"] = "xyz"
    assert "another test corpus" in check.not_comparable(other, summary)
    assert "no baseline" in check.not_comparable(summary, {})
    assert check.not_comparable(summary, summary) == ""


def test_update_writes_what_compare_reads(summary: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    check.update(summary, path)
    assert worse(summary, check.read(path)) == []
    path.write_text("[]")
    with pytest.raises(UserError, match="not a summary"):
        check.read(path)
    path.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        check.read(path)
    with pytest.raises(UserError, match="no such file"):
        check.read(tmp_path / "absent.json")
