"""Regressions planted in a small bench of real parts: the gate must see each of them."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from codec import audio
from codec.coding.context import ContextTables
from codec.errors import UserError
from pipeline import layout, metrics, params
from pipeline.coders import Coder, build
from pipeline.coders.bench import code_clips
from pipeline.coders.neural import NeuralCoder
from pipeline.corpora import manifest
from pipeline.metrics import scoring, selftest
from pipeline.results import gate, summary, tables
from pipeline.stages import aggregate, anchors, speed
from pipeline.stages import check as stage
from tests.conftest import ROOT, WITHOUT_RELEASED

pytestmark = pytest.mark.slow

MODEL = "general-24k"
SETTINGS = [
    *WITHOUT_RELEASED, "corpus.synthetic.test_clips=4", "speed.rounds=3",
    "statistics.resamples=100",
]  # fmt: skip


class Bench:
    """Two coders on three clips, from files to the gate, without training."""

    def __init__(self, folder: Path) -> None:
        shutil.copy(ROOT / "params.yaml", folder / "params.yaml")
        params.change(SETTINGS, folder / "params.yaml")
        self.clips = []
        reference, _ = selftest.signals()
        for index, kind in enumerate(("speech", "speech", "general")):
            rng = np.random.default_rng(index)
            wave = np.roll(reference, 4000 * index, axis=-1) * (1 - 0.2 * index)
            if kind == "general":
                wave = 0.1 * rng.standard_normal(wave.shape).cumsum(axis=-1) / 50
            audio.write(folder / f"data/test/{kind}{index}.flac", wave.astype(np.float32), 24_000)
            self.clips.append(manifest.Clip(
                file=f"{kind}{index}.flac", kind=kind, source=f"{kind}{index}", language="",
                sample_rate=24_000, channels=1, seconds=2.0, licence="", origin="",
            ))  # fmt: skip

    def run(self, neural: Coder) -> None:
        """Code, score, aggregate; the stages' own functions, in this process."""
        manifest.write(Path("data/test"), self.clips)
        for point, coder in (("neural-b050", neural), ("opus-12", build("opus", {"kbps": 12}))):
            code_clips(point, coder, Path("data/test"))
            rows = [
                {"point": point, "clip": clip.name, "kind": clip.kind, "source": clip.source, **row}
                for clip in self.clips
                for row in scoring.score_pair(scoring.Pair(
                    clip.name, clip.kind, f"data/test/{clip.file}",
                    str(layout.decoded_file(point, clip.name)),
                ))
            ]  # fmt: skip
            Path("scores").mkdir(exist_ok=True)
            tables.write(Path(f"scores/{point}.csv"), pd.DataFrame(rows, columns=scoring.COLUMNS))
        anchors.without_clips()
        aggregate.main()

    def measure(self, neural: Coder, patch: pytest.MonkeyPatch) -> None:
        """Both coders' speed, as the stage measures it."""
        coders = {"neural-b050": neural, "opus-12": build("opus", {"kbps": 12})}
        patch.setattr(speed, "build", lambda name, options: coders[options["point"]])
        patch.setattr(params.Params, "coder_of", lambda self, point: ("any", {"point": point}))
        rows = [
            {"point": point, "series": point.partition("-")[0]}
            | speed.measure(params.load(), point)
            for point in coders
        ]
        tables.write(Path("reports/speed.csv"), pd.DataFrame(rows))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound run, with itself as the baseline."""
    folder = tmp_path_factory.mktemp("gate")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bench = Bench(folder)
        coder = NeuralCoder(MODEL)
        bench.run(coder)
        bench.measure(coder, patch)
        gate.update(
            summary.read(layout.SUMMARY), gate.read_speed(layout.SPEED),
            Path("reports/baseline.json"), "a sound run", "r", "d",
        )  # fmt: skip
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def bench(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A copy of that run, to plant something in."""
    shutil.copytree(done, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return Bench(tmp_path / "run")


def exit_status() -> object:
    """Of the check stage."""
    try:
        stage.main()
    except SystemExit as end:
        return end.code
    return 0


def worse(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the gate says became worse; it must exit with 1 where there is something."""
    with caplog.at_level(logging.INFO, logger="rdcodec"):
        status = exit_status()
    page = Path("reports/check.md").read_text()
    assert status == (1 if "values became worse" in page else 0)
    return [
        message.removeprefix("worse: ")
        for message in (record.getMessage() for record in caplog.records)
        if message.startswith("worse: ")
    ]


def test_the_same_run_again_passes(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.run(NeuralCoder(MODEL))
    assert worse(caplog) == []


def test_a_wrong_table_is_caught_by_its_rate(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoder and decoder agree on it, so that nothing is heard of it."""
    coder = NeuralCoder(MODEL)
    tables = coder.model.frozen_tables()
    assert isinstance(tables, ContextTables)
    swapped = replace(tables, out=np.ascontiguousarray(tables.out[::-1]))
    monkeypatch.setattr(coder.model, "frozen_tables", lambda: swapped)
    bench.run(coder)
    found = worse(caplog)
    assert any(text.startswith("file kbps of neural-b050") for text in found)
    assert not any(text.startswith("visqol_audio of") for text in found)


def test_an_estimate_of_other_tables_is_caught_by_the_gap(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    coder = NeuralCoder(MODEL)
    estimate = coder.estimated_bits
    monkeypatch.setattr(coder, "estimated_bits", lambda data: 0.9 * estimate(data))
    bench.run(coder)
    assert [text.partition(":")[0] for text in worse(caplog)] == [
        "estimate gap % of neural-b050 (all)"
    ]


@pytest.mark.parametrize("name", ["pesq_wb", "visqol_audio", "visqol_speech"])
def test_swapped_arguments_are_caught_before_anything_is_scored(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    metric = metrics.installed()[name]

    def swapped(*, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        return metric.function(reference=degraded, degraded=reference, sample_rate=sample_rate)

    wrong = type(metric)(**{**vars(metric), "function": swapped})
    monkeypatch.setattr(selftest, "installed", lambda: {name: wrong})
    with pytest.raises(UserError, match=f"{name} .* is not itself"):
        selftest.require()


def test_a_worse_decoder_is_caught_by_quality(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves out the gains of bands, which files still have."""
    coder = NeuralCoder(MODEL)
    loudness = coder.model.decoder.loudness
    monkeypatch.setattr(loudness, "adjust", lambda decoded, gains: decoded)
    bench.run(coder)
    found = worse(caplog)
    assert any(" of neural-b050 (" in text and "kbps" not in text for text in found), found
    assert not any("file kbps" in text for text in found)


@pytest.mark.usefixtures("bench")
def test_a_slower_decoder_is_caught_by_its_ratio_to_opus(caplog: pytest.LogCaptureFixture) -> None:
    times = tables.read(layout.SPEED)
    times.loc[times.point == "neural-b050", "decode_x"] /= 4
    tables.write(layout.SPEED, times)
    found = [text for text in worse(caplog) if "against Opus" in text]
    assert [text.partition(":")[0] for text in found] == [
        "decoding against Opus of neural-b050 (all)"
    ]


def test_a_dropped_clip_is_caught_by_coverage(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.clips = bench.clips[:-1]
    bench.run(NeuralCoder(MODEL))
    found = worse(caplog)
    assert "test clips of the corpus (all): before 3, after 2, tolerance 0" in found
    assert any(text.startswith("visqol_audio of neural-b050 (general)") for text in found)


def test_a_run_without_a_baseline_passes_but_not_if_strict(bench: Bench) -> None:
    Path("reports/baseline.json").write_text(json.dumps({}))
    stage.main()
    assert "Not compared" in Path("reports/check.md").read_text()
    with pytest.raises(SystemExit):
        stage.main(strict=True)
