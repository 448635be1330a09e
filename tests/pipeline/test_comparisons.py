"""BD-rates, paired tests and claims from tables of a run that never was."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codec import audio
from codec.errors import UserError
from pipeline import params
from pipeline.corpora import manifest
from pipeline.results.claims import claims
from pipeline.results.comparisons import Bench
from pipeline.results.summary import Summary
from pipeline.stages import external
from tests.conftest import ROOT, tone

SETTINGS = params.load(ROOT / "params.yaml").statistics.model_copy(update={"resamples": 300})
OPUS = {6: 2.0, 12: 2.6, 24: 3.2, 32: 3.5}
NEURAL = {"b400": (3.0, 2.0), "b150": (6.0, 2.6), "b030": (12.0, 3.2), "b008": (40.0, 3.6)}
"""At half of Opus's rate for the same score, but for the last one."""


@pytest.fixture(scope="module")
def bench() -> Bench:
    rng = np.random.default_rng(0)
    scores, files = [], []
    points = {f"opus-{kbps}": ("opus", float(kbps), score) for kbps, score in OPUS.items()}
    points |= {f"neural-{name}": ("neural", *facts) for name, facts in NEURAL.items()}
    clips = [(f"clip{n:02}", "speech" if n % 2 else "music", 2.0 + n % 3) for n in range(32)]
    level = 0.5 * rng.standard_normal(32)
    for point, (_, kbps, score) in points.items():
        for index, (clip, kind, seconds) in enumerate(clips):
            source = f"{kind}{index // 4}"
            own = score + level[index] + 0.05 * rng.standard_normal()
            common = {"point": point, "clip": clip, "kind": kind, "source": source}
            files.append({**common, "seconds": seconds, "file_bytes": kbps * 125 * seconds})
            scores.append({**common, "metric": "visqol_audio", "value": own})
            if kind == "speech":
                scores.append({**common, "metric": "stoi", "value": own / 5})
    table = pd.DataFrame(scores)
    curve = []
    for (point, metric), part in table.groupby(["point", "metric"], sort=False):
        series, kbps, _ = points[point]
        for kind in ("speech", "music", "all"):
            chosen = part if kind == "all" else part[part.kind == kind]
            if len(chosen) and not (metric == "stoi" and kind == "all"):
                curve.append(
                    {"point": point, "series": series, "metric": metric, "kind": kind,
                     "mean": chosen.value.mean(), "file_kbps": kbps}
                )  # fmt: skip
    return Bench(pd.DataFrame(curve), table, pd.DataFrame(files), SETTINGS, 0)


def test_a_codec_of_half_the_rate_has_a_bd_rate_of_minus_fifty(bench: Bench) -> None:
    found = {(row.metric, row.kind): row for row in bench.bd_rates()}
    assert set(found) == {
        ("visqol_audio", "speech"), ("visqol_audio", "music"), ("visqol_audio", "all"),
        ("stoi", "speech"),
    }  # fmt: skip
    row = found["visqol_audio", "all"]
    assert row.percent == pytest.approx(-50, abs=6)
    assert row.low < row.percent < row.high < -30
    assert row.quality > 0.3


def test_each_point_is_tested_at_its_own_rate_and_all_tests_are_corrected(bench: Bench) -> None:
    found = {(row.point, row.metric, row.kind): row for row in bench.paired_tests()}
    assert len(found) == 4 * 4
    row = found["neural-b030", "visqol_audio", "all"]
    # Opus at 12 kbps is 0.6 below.
    assert row.difference == pytest.approx(0.6, abs=0.05)
    assert row.groups == 16
    assert row.p <= row.p_holm < 0.05
    assert found["neural-b150", "visqol_audio", "all"].difference == pytest.approx(0.6, abs=0.05)
    for point in ("neural-b400", "neural-b008"):
        outside = found[point, "visqol_audio", "all"]
        assert outside.reason == "Opus was measured from 6.0 to 32.0 kbps"
        assert outside.p_holm is None


def test_claims_are_judged_by_what_was_measured(bench: Bench) -> None:
    rates = {name: kbps for name, (kbps, _) in NEURAL.items()}

    def judged(
        rates: dict[str, float], compression: float = 384, paired: bool = True
    ) -> list[dict[str, str]]:
        points = {
            f"neural-{name}": {
                "about": {}, "series": "neural", "delay_ms": None, "chosen": "",
                "rates": {"all": {"file_kbps": kbps, "estimate_gap_percent": 0.1}},
                "compression": compression / kbps,
                "metrics": {"visqol_audio": {"all": {"mean": 2.5, "n_scored": 32}}},
            }
            for name, kbps in rates.items()
        }  # fmt: skip
        summary = Summary(
            headline=[], verdicts={}, points=points, bd_rate=[], ablations=[], unscored=[],
            paired=bench.paired_tests() if paired else [],
            test={"clips": 32, "seconds": 90, "fingerprint": "", "corpus": {}},
        )  # fmt: skip
        return claims(summary, codes, sweep)

    codes = pd.DataFrame(
        {"model": list(rates), "bits_per_symbol": [1.02] * 4, "entropy": [1.0] * 4}
    )
    sweep = sorted(rates, key=lambda name: -rates[name])
    found = judged(rates)
    # The nearest point to 24 kbps, on a logarithmic or any other scale, is better than Opus there.
    assert [row["verdict"] for row in (*found[:3], found[4])] == ["holds"] * 4
    assert found[2]["measured"] == "64× at 6.0 kbps (b150), with ViSQOL audio 2.50"
    assert judged(rates | {"b400": 50.0})[0]["verdict"] == "does not hold"
    assert judged(rates, compression=36)[2] == {
        "claim": "50× compression of 16-bit PCM.",
        "measured": "at most 12×",
        "verdict": "does not hold",
    }
    assert judged(rates, paired=False)[4]["verdict"] == "not measured"
    sweep = []  # a run of RVQ points or of anchors alone
    assert judged(rates) == []


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    clips = []
    for name, kind in (("a", "speech"), ("b", "music")):
        audio.write(tmp_path / "data/test" / f"{name}.flac", tone(1.0, 16_000), 16_000)
        clips.append(
            manifest.Clip(
                file=f"{name}.flac", kind=kind, source=name, language="", sample_rate=16_000,
                channels=1, seconds=1.0, licence="", origin="",
            )
        )  # fmt: skip
    manifest.write(tmp_path / "data/test", clips)
    return tmp_path


def test_scores_from_elsewhere_become_a_series(project: Path) -> None:
    (project / "lyra.csv").write_text(
        "clip,point,payload_kbps,visqol_audio,pesq_wb\n"
        "a.ogg,lyra-3,3.2,4.1,2.5\na.ogg,lyra-6,6.0,4.2,\nb.ogg,lyra-3,3.2,2.0,\nz.ogg,lyra-3,3.2,2,\n"
    )
    params.change(["external.lyra=lyra.csv"])
    external.main("lyra")
    coded = pd.read_csv("coded/external-lyra.csv")
    assert coded.groupby("point").file_bytes.sum().to_dict() == {"lyra-3": 800.0, "lyra-6": 750.0}
    scores = pd.read_csv("scores/external-lyra.csv", keep_default_na=False)
    rows = {
        (row.point, row.clip, row.metric): (str(row.value), row.reason)
        for row in scores.itertuples()
    }
    assert rows == {
        ("lyra-3", "a", "visqol_audio"): ("4.1", ""),
        ("lyra-3", "a", "pesq_wb"): ("2.5", ""),
        ("lyra-6", "a", "visqol_audio"): ("4.2", ""),
        ("lyra-6", "a", "pesq_wb"): ("", "not given"),
        ("lyra-3", "b", "visqol_audio"): ("2.0", ""),
    }
    assert set(scores.provenance) == {"from lyra.csv"}


def test_audio_from_elsewhere_is_scored_here(project: Path) -> None:
    """A copy gets what a copy gets, and audio of another form is named."""
    other = project / "other"
    audio.write(other / "a/copy.flac", tone(1.0, 16_000), 16_000)
    audio.write(other / "a/other.flac", tone(1.0, 16_000, 300), 16_000)
    (other / "peers.csv").write_text(
        "clip,point,payload_kbps,file\na,copy,6,a/copy.flac\na.wav,other,3,a/other.flac\n"
    )
    params.change(["external.peers=other/peers.csv", "score.jobs=1"])
    external.main("peers")
    scores = pd.read_csv("scores/external-peers.csv", keep_default_na=False)
    assert set(scores.kind) == {"speech"}
    assert set(scores.source) == {"a"}
    value = scores.set_index(["point", "metric"]).value
    assert float(value["copy", "si_sdr"]) == pytest.approx(100)
    assert float(value["copy", "zimtohrli"]) == 0 < float(value["other", "zimtohrli"])
    coded = pd.read_csv("coded/external-peers.csv")
    assert coded.set_index("point").payload_bytes.to_dict() == {"copy": 750.0, "other": 375.0}
    audio.write(other / "a/other.flac", tone(0.9, 16_000, 300), 16_000)
    with pytest.raises(UserError, match=r"other/a/other.flac: 1 x 14400 samples at 16000 Hz, and"):
        external.main("peers")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,point\na,b\n", "has no column `payload_kbps`"),
        ("clip,point,payload_kbps\na,b,3\n", "has no column of a metric, which are .*pesq_wb"),
        ("clip,point,payload_kbps,stoi,file\na,b,3,1,a.flac\n", "has both scores and audio"),
        ("clip,point,payload_kbps,stoi\nz,b,3,1\n", "none of its clips is among the test clips"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_table_that_does_not_fit_is_named(project: Path, text: str, message: str) -> None:
    (project / "other.csv").write_text(text)
    params.change(["external.other=other.csv"])
    with pytest.raises(UserError, match=f"other.csv: {message}"):
        external.main("other")
