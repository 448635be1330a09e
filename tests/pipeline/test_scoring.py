"""Scoring in pieces: kept, resumed, the same wherever it runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from codec import audio
from codec.errors import UserError
from pipeline.metrics import scoring
from pipeline.metrics.delay import delay_ms
from pipeline.metrics.executor import executor
from pipeline.metrics.scoring import Pair
from pipeline.params import Score
from pipeline.running.graph import Meta, Stage
from pipeline.running.run import Ended, Run
from pipeline.stage import FORCED
from tests.conftest import ROOT, recorded, tone

HERE = Score(jobs=1, executor="processes", address="", chunk=4)


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """Eight short pairs, and a cache of their own."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    made = []
    for index in range(8):
        wave = tone(0.6, 16_000, 200 + 20 * index)
        noisy = wave + 0.01 * (index + 1) * rng.standard_normal(wave.shape).astype(np.float32)
        for name, heard in (("ref", wave), ("deg", noisy)):
            audio.write(tmp_path / f"{name}{index}.flac", heard, 16_000)
        made.append(Pair(f"clip{index}", "general", f"ref{index}.flac", f"deg{index}.flac"))
    return made


def test_nothing_is_scored_twice_and_everything_that_changed_is(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "executor", _inline)
    first = dict(scoring.score(pairs, HERE))
    assert set(first) == {pair.name for pair in pairs}
    measured: list[str] = []
    real = scoring.score_pair
    monkeypatch.setattr(
        scoring, "score_pair", lambda pair: (measured.append(pair.name), real(pair))[1]
    )
    assert dict(scoring.score(pairs, HERE)) == first
    assert measured == []
    # Another clip's audio, another kind, or another version of a metric.
    audio.write("deg3.flac", tone(0.6, 16_000, 500), 16_000)
    again = dict(
        scoring.score([*pairs[:7], Pair("clip7", "music", "ref7.flac", "deg7.flac")], HERE)
    )
    assert sorted(measured) == ["clip3", "clip7"]
    assert again["clip3"] != first["clip3"]
    assert again["clip2"] == first["clip2"]
    measured.clear()
    monkeypatch.setattr(scoring, "metrics_version", lambda: b"another")
    dict(scoring.score(pairs[:2], HERE))
    assert sorted(measured) == ["clip0", "clip1"]


def test_a_forced_run_scores_again(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "executor", _inline)
    first = dict(scoring.score(pairs[:2], HERE))
    for path in scoring.CACHE.iterdir():
        path.write_text("[]")
    assert dict(scoring.score(pairs[:2], HERE)) == {"clip0": [], "clip1": []}
    assert dict(scoring.score(pairs[:2], HERE, again=True)) == first
    assert dict(scoring.score(pairs[:2], HERE)) == first


def test_force_reaches_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc repro --force` runs the command again and says nothing to it."""
    told = {}

    def repro(self: Run, stage: Stage, forced: bool, variables: dict[str, str]) -> Ended:
        told[stage.name] = FORCED in variables
        return Ended(0)

    monkeypatch.setattr(Run, "_repro", repro)
    run = Run(forced={"score@a"})
    for name in ("score@a", "score@b"):
        run.perform(Stage(name, "", (), (), Meta(), ("deps",)))
    assert told == {"score@a": True, "score@b": False}


def test_kept_scores_are_of_one_version_of_everything(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resampler's, too: it changes what metrics hear."""
    keys = set()
    real = scoring.version
    for soxr in ("1.0", "1.1"):
        monkeypatch.setattr(scoring, "version", lambda name, it=soxr: it or real(name))
        scoring.metrics_version.cache_clear()
        keys.add(scoring.key(pairs[0]))
    scoring.metrics_version.cache_clear()
    assert len(keys) == 2


class _Inline:
    def submit(self, function, *arguments):
        from concurrent.futures import Future

        future: Future = Future()
        future.set_result(function(*arguments))
        return future


class _inline:  # noqa: N801
    def __init__(self, settings: Score, pieces: int) -> None:
        pass

    def __enter__(self) -> _Inline:
        return _Inline()

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_processes_and_dask_give_the_same_scores(pairs: list[Pair], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    found = []
    for settings in (
        HERE,
        HERE.model_copy(update={"jobs": 2, "chunk": 1}),
        HERE.model_copy(update={"jobs": 2, "executor": "dask"}),
    ):
        found.append(dict(scoring.score(pairs, settings)))
        for kept in scoring.CACHE.iterdir():
            kept.unlink()
    assert found[0] == found[1] == found[2]


def test_a_cluster_whose_workers_have_several_threads(pairs: list[Pair], tmp_path: Path) -> None:
    """As `dask worker` has them by default, and ViSQOL's numba cannot."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(1, threads_per_worker=2, dashboard_address=None) as cluster:
        there = {"executor": "dask", "address": cluster.scheduler_address, "chunk": 1}
        found = dict(scoring.score(pairs, HERE.model_copy(update=there)))
    assert set(found) == {pair.name for pair in pairs}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
@pytest.mark.parametrize("jobs", [1, 2])
def test_as_many_processes_work_as_were_asked_for_in_one_thread_each(
    jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with executor(HERE.model_copy(update={"jobs": jobs}), 8) as pool:
        found = [pool.submit(_worker) for _ in range(8)]
        workers = [future.result() for future in found]
    assert len({process for process, _ in workers}) == jobs
    assert all(threads == 1 for _, threads in workers)
    assert dict(os.environ) == before


def _worker() -> tuple[int, int]:
    """Its process, and the threads there after a product of large matrices."""
    time.sleep(0.3)  # long enough for every process to get some of the work
    side = np.ones((600, 600))
    side @ side
    return os.getpid(), len(os.listdir("/proc/self/task"))


@pytest.mark.slow
def test_scoring_that_was_killed_goes_on(pairs: list[Pair], tmp_path: Path) -> None:
    script = (
        "from pipeline.metrics import scoring; from pipeline.params import Score\n"
        "from tests.pipeline.test_scoring import HERE, Pair\n"
        f"if __name__ == '__main__':\n    pairs = {pairs!r}\n"
        "    for name, rows in scoring.score(pairs, HERE.model_copy(update={'chunk': 1})):\n"
        "        print(name, flush=True)\n"
    )
    (tmp_path / "run.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "run.py"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    done = [process.stdout.readline().strip() for _ in range(3)]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in scoring.CACHE.iterdir()}
    assert 3 <= len(kept) < 8
    time.sleep(0.01)
    finished = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert set(finished.stdout.split()) == {pair.name for pair in pairs} >= set(done)
    after = {path.name: path.stat().st_mtime_ns for path in scoring.CACHE.iterdir()}
    assert {name: after[name] for name in kept} == kept


def test_an_address_without_a_scheduler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    import pipeline.metrics.executor as module

    monkeypatch.setattr(module, "CONNECT_SECONDS", 2)
    settings = HERE.model_copy(update={"executor": "dask", "address": "tcp://127.0.0.1:9"})
    with (
        pytest.raises(UserError, match=r"score\.address: tcp://127\.0\.0\.1:9: no Dask scheduler"),
        module.executor(settings, 1),
    ):
        pass


@pytest.mark.parametrize("shift", [-320, 0, 37, 2_000])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_delay_is_measured_to_the_sample(shift: int, rate: int) -> None:
    rng = np.random.default_rng(1)
    wave = lfilter([1.0], [1.0, -0.95], rng.standard_normal((1, 2 * rate))).astype(np.float32)
    late = np.roll(0.3 * wave, shift, axis=1) + 0.1 * rng.standard_normal(wave.shape)
    found = delay_ms(reference=wave, degraded=late.astype(np.float32), sample_rate=rate)
    assert found == pytest.approx(1000 * shift / rate, abs=0.05)


def test_delay_of_a_parametric_coder_is_measured_by_its_levels() -> None:
    rng = np.random.default_rng(2)
    level = np.repeat(rng.random(80), 400) ** 2
    ours, theirs = (level * rng.standard_normal(len(level)) for _ in range(2))
    wave, other = ours[None].astype(np.float32), theirs[None].astype(np.float32)
    assert delay_ms(reference=wave, degraded=other, sample_rate=16_000) == pytest.approx(0, abs=1)
    late = np.roll(other, 320, axis=1)
    assert delay_ms(reference=wave, degraded=late, sample_rate=16_000) == pytest.approx(20, abs=1)
    noise = rng.standard_normal(wave.shape).astype(np.float32)
    assert delay_ms(reference=wave, degraded=noise, sample_rate=16_000) is None
    assert delay_ms(reference=wave, degraded=0 * wave, sample_rate=16_000) is None


@pytest.mark.slow
def test_published_conformance_pairs(tmp_path: Path) -> None:
    import csv

    folder = recorded("conformance/visqol")
    for row in csv.DictReader((folder / "expected.csv").open()):
        kind = "speech" if row["mode"] == "speech" else "general"
        for name in ("reference", "degraded"):  # ViSQOL's own program averages channels
            waveform, rate = audio.read(folder / row[name])
            audio.write(tmp_path / f"{name}.wav", waveform.mean(axis=0), rate)
        found = scoring.score_files(tmp_path / "reference.wav", tmp_path / "degraded.wav", kind)
        (score,) = [
            one["value"] for one in found["scores"] if one["metric"] == f"visqol_{row['mode']}"
        ]
        assert score == pytest.approx(float(row["moslqo"]), abs=0.005), row["degraded"]


def test_two_files_that_differ_are_compared_and_it_is_said_how(tmp_path: Path) -> None:
    wave = tone(1.0, 48_000)
    audio.write(tmp_path / "a.wav", wave, 48_000)
    audio.write(tmp_path / "b.wav", audio.resample(wave, 48_000, 24_000)[:, :-240], 24_000)
    found = scoring.score_files(tmp_path / "a.wav", tmp_path / "b.wav", "general")
    assert found["notes"] == [
        "degraded was resampled from 24000 to 48000 Hz",
        "reference was cut by 0.0100 s at its end",
    ]
    assert found["delay_ms"] == 0
    assert {row["metric"] for row in found["scores"]} == {"visqol_audio", "zimtohrli", "si_sdr"}
    audio.write(tmp_path / "c.wav", tone(1.0, 48_000, channels=2), 48_000)
    with pytest.raises(UserError, match=r"c\.wav: has 2 channels and .*a\.wav 1"):
        scoring.score_files(tmp_path / "a.wav", tmp_path / "c.wav", "general")
    json.dumps(found)
