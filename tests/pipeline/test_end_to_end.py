"""The real pipeline on tiny parameters, in a copy of the project."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from codec import audio, checkpoint
from pipeline import params
from pipeline.metrics import installed
from pipeline.running import graph
from tests.conftest import tone
from tests.pipeline import toy
from tests.project import TINY, Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    found = Project(tmp_path_factory.mktemp("project"))
    words = [word for assignment in TINY for word in ("--set", assignment)]
    done = found.rdcodec("run", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The report is" in done.stdout
    return found


def test_summary_has_every_point_metric_and_kind(project: Project) -> None:
    summary = project.summary()
    assert list(summary["points"]) == [
        "mp3-32",
        "neural-high", "neural-low", "neural-mse", "neural-rvq", "neural-rvq-q1",
        "opus-24", "opus-6",
    ]  # fmt: skip

    for point, facts in summary["points"].items():
        assert set(facts["metrics"]) == {
            "pesq_wb", "stoi", "visqol_audio", "visqol_speech", "si_sdr", "zimtohrli",
        } | {"distill_mos"} & set(installed())  # fmt: skip
        assert set(facts["metrics"]["visqol_audio"]) == {"speech", "music", "general", "all"}
        assert set(facts["metrics"]["pesq_wb"]) == {"speech"}
        found = facts["metrics"]["visqol_audio"]["all"]
        assert found["n_total"] == 8
        missing = [row for row in summary["unscored"] if row["point"] == point]
        missing = [row for row in missing if row["metric"] == "visqol_audio"]
        assert found["n_scored"] + len(missing) == 8
        assert found["low"] <= found["mean"] <= found["high"]
    rates = {point: facts["rates"]["all"] for point, facts in summary["points"].items()}
    assert rates["opus-6"]["file_kbps"] < rates["opus-24"]["file_kbps"]
    assert rates["neural-high"]["payload_kbps"] < rates["neural-high"]["file_kbps"]
    # Of 1.5 s clips the coder's last word is more than a percent.
    assert rates["neural-high"]["estimate_gap_percent"] == pytest.approx(0, abs=3)
    # 100 frames of three codebooks, and of one.
    assert 2 < rates["neural-rvq"]["payload_kbps"] / rates["neural-rvq-q1"]["payload_kbps"] < 4
    assert rates["opus-6"]["estimated_kbps"] is None
    assert summary["points"]["opus-6"]["about"]["coder"] == "libopus 1.6.1"


@pytest.fixture(scope="class")
def api(project: Project) -> Iterator[str]:
    """A dashboard that is started after the run, and ends before others write to its database."""
    with toy.server(project.folder) as found:
        yield found


class TestRecord:
    """What Prefect keeps of the first run."""

    def test_the_record_has_every_stage_and_the_results(self, project: Project, api: str) -> None:
        run = toy.flow_runs(api)[-1]
        assert run["state"]["type"] == "COMPLETED"
        shown = {
            task["name"].rpartition("-")[0]: task["state"]["type"]
            for task in toy.of_run(api, "task_runs", run["id"])
        }
        locked = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
        assert shown == dict.fromkeys(locked, "COMPLETED")
        found = toy.of_run(api, "artifacts", run["id"])
        bars = {x["description"]: x["data"] for x in found if x["type"] == "progress"}
        assert {"prepare", "train@low", "code@neural-low", "score@opus-24"} <= set(bars)
        assert set(bars.values()) == {100}
        artifacts = {x["key"]: x["data"] for x in found if x["type"] != "progress"}
        assert set(artifacts) == {"headline", "curve", "report", "losses"}
        assert artifacts["headline"] == " ".join(project.summary()["headline"])
        assert {row["point"] for row in json.loads(artifacts["curve"])} == set(
            project.summary()["points"]
        )
        assert (project.folder / "reports/index.html").as_uri() in artifacts["report"]

    @pytest.mark.browser
    def test_the_dashboard_shows_the_run(
        self, project: Project, api: str, chromium, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its logs, its tasks, its graph with DVC's own edges, its artifacts."""
        site, run = api.removesuffix("/api"), toy.flow_runs(api)[-1]["id"]
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        try:
            page.goto(f"{site}/runs/flow-run/{run}")
            page.get_by_text("Running stage").first.wait_for()
            page.locator("canvas").first.wait_for()
            page.get_by_text("Task Runs", exact=True).click()
            page.get_by_text(re.compile(r"^report-\w+$")).first.wait_for()
            page.get_by_text("Artifacts", exact=True).click()
            page.get_by_text("curve", exact=True).first.click()
            page.get_by_text("neural-high").first.wait_for()
            # What the canvas is drawn from.
            answer = page.request.get(f"{api}/flow_runs/{run}/graph-v2").json()
        finally:
            page.close()
        nodes = dict(answer["nodes"])
        label = {key: node["label"].rpartition("-")[0] for key, node in nodes.items()}
        edges = {
            (label[parent["id"]], label[key])
            for key, node in nodes.items()
            for parent in node["parents"]
        }
        monkeypatch.chdir(project.folder)
        dvc = {(needed, stage.name) for stage in graph.stages() for needed in stage.needs}
        assert edges == dvc


def test_rates_in_the_table_are_the_bytes_on_disk(project: Project) -> None:
    seconds = sum(
        soundfile.info(path).duration for path in (project.folder / "data/test").glob("*.flac")
    )
    for point, suffix in [("neural-low", "rdc"), ("opus-6", "opus")]:
        size = sum(p.stat().st_size for p in (project.folder / "coded" / point).glob(f"*.{suffix}"))
        found = project.summary()["points"][point]["rates"]["all"]["file_kbps"]
        assert found == pytest.approx(size * 8 / seconds / 1000, rel=1e-4)


def test_every_missing_score_has_a_reason(project: Project) -> None:
    for path in (project.folder / "scores").glob("*.csv"):
        table = pd.read_csv(path, keep_default_na=False)
        assert ((table.value == "") == (table.reason != "")).all()
        assert (table.provenance != "").all()
        assert (table.value != "0.000000").all()


def test_training_curves_and_the_entropy_model_s_gain_are_written(project: Project) -> None:
    curve = pd.read_csv(project.folder / "models" / "base" / "training.csv")
    assert set(curve.split) == {"train", "valid"}
    assert curve.step.max() == 12
    assert np.isfinite(curve.total).all()
    facts = json.loads((project.folder / "models" / "high" / "training.json").read_text())
    assert (facts["init"], facts["steps"], facts["beta"]) == ("base", 8, 0.0)
    assert facts["audio_hours"] == pytest.approx(8 * 2 * 0.5 / 3600, abs=1e-3)
    assert facts["hours"] > 0
    # What to watch and to listen to, and nothing left to go on from.
    live = json.loads((project.folder / "models" / "high" / "live" / "metrics.json").read_text())
    assert live["step"] == 8
    clips = {path.stem[-8:] for path in (project.folder / "models/high/clips").glob("*.flac")}
    assert clips == {"original", "p-000004", "p-000008"}
    assert not list((project.folder / "checkpoints").iterdir())
    for model in ("low", "high", "rvq"):
        gain = pd.read_csv(project.folder / "models" / model / "entropy.csv").iloc[0]
        assert gain.after_kbps < gain.before_kbps


def test_codes_are_described_and_coded_in_four_ways(project: Project) -> None:
    for model in ("low", "high", "rvq"):
        coders = pd.read_csv(project.folder / "models" / model / "entropy_coders.csv")
        kbps = dict(zip(coders.coder, coders.kbps, strict=True))
        assert list(kbps) == ["fixed length", "Huffman", "static histogram", "factorized prior"]
        assert kbps["Huffman"] <= kbps["fixed length"]
        # What the files hold, but for the cutting into chunks and layers.
        payload = project.summary()["points"][f"neural-{model}"]["rates"]["all"]["payload_kbps"]
        assert kbps["factorized prior"] == pytest.approx(payload, rel=0.03)
        codes = pd.read_csv(project.folder / "models" / model / "codes.csv")
        assert len(codes) == (3 if model == "rvq" else 8)
        assert (codes.entropy <= np.log2(codes.in_use) + 1e-3).all()


def test_an_ablation_stands_beside_the_curve_and_not_in_it(project: Project) -> None:
    curve = pd.read_csv(project.folder / "reports" / "rd.csv")
    assert set(curve[curve.point == "neural-mse"].series) == {"ablation"}
    (ablation,) = project.summary()["ablations"]
    assert (ablation["point"], ablation["of"]) == ("neural-mse", "neural-high")
    html = (project.folder / "reports" / "index.html").read_text()
    assert "loss.log_magnitude 0.0, loss.mse 1000.0, loss.phase 0.0" in html
    columns = set(pd.read_csv(project.folder / "models" / "mse" / "training.csv").columns)
    assert "mse" in columns
    assert "phase" not in columns


class Links(HTMLParser):
    """Everything that a browser would fetch for the page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids.append(values.get("id") or "")
        self.found += [values[key] or "" for key in ("src", "href", "srcset") if key in values]


def test_the_pages_open_from_their_folder_with_the_headline_and_all_points(
    project: Project,
) -> None:
    reports = project.folder / "reports"
    for name in ("index.html", "listening.html"):
        links = Links()
        links.feed((reports / name).read_text())
        inside = [link for link in links.found if not link.startswith(("data:", "#"))]
        assert all((reports / link).is_file() for link in inside), inside
    html = (reports / "index.html").read_text()
    summary = project.summary()
    for sentence in summary["headline"]:
        assert sentence in html.replace("&#39;", "'")
    for point in summary["points"]:
        assert point in html
    data = json.loads(
        re.search(r'<script id="data" type="application/json">(.*?)</script>', html)[1]
    )
    inside = json.loads(
        (reports / "assets/inside.js").read_text()[len('rdcodec.receive("figures",') : -3]
    )
    assert {"visqol_audio all", "pesq_wb speech"} <= set(data["figures"])
    assert {"training kbps", "bits per row", "symbols", "codebooks", "estimate gap"} <= set(inside)
    for name, figure in (data["figures"] | inside).items():
        assert figure["data"], name


def test_the_page_plays_what_was_scored(project: Project) -> None:
    """The very files of decoded/ and data/test, and where their bits go."""
    reports = project.folder / "reports"
    clips = json.loads(
        (reports / "assets/clips.js").read_text()[len('rdcodec.receive("clips",') : -3]
    )
    assert len(clips) == 8
    names = {path.stem for path in (reports / "assets/audio").iterdir()}
    points = list(clips[0]["points"])
    assert names == {f"{n}-{point}" for n in range(8) for point in ["original", *points]}
    played = (reports / f"assets/audio/3-{points[0]}.js").read_text()
    sound = json.loads(played.partition(",")[2][:-3])
    decoded = project.folder / "decoded" / points[0] / f"{clips[3]['clip']}.flac"
    assert base64.b64decode(sound["flac"]) == decoded.read_bytes()
    files = pd.read_csv(project.folder / "coded" / f"{points[0]}.csv").set_index("clip")
    assert len(sound["timeline"]) == 15
    bits = files.loc[clips[3]["clip"]].estimated_bits
    assert sum(sound["timeline"]) == pytest.approx(bits, abs=8)


def test_a_second_run_has_nothing_to_do(project: Project) -> None:
    assert "up to date" in project.dvc("repro").stdout
    done = project.rdcodec("run")
    assert done.returncode == 0
    assert "0 stages run" in done.stdout
    assert "Cached" in done.stdout + done.stderr


def test_one_beta_changes_its_own_stages_and_what_follows(project: Project) -> None:
    before = (project.folder / "params.yaml").read_text()
    project.set("models.low={beta: 0.9}")
    done = project.dvc("repro")
    (project.folder / "params.yaml").write_text(before)
    assert set(re.findall(r"Running stage '([^']+)'", done.stdout)) == {
        "train@low", "fit_entropy@low", "code@neural-low", "symbols@low", "score@neural-low",
        "speed", "aggregate", "report", "check",
    }  # fmt: skip
    # Going back runs nothing: DVC still has the old results.
    assert "Running stage" not in project.dvc("repro").stdout


def test_the_gate_opens_and_closes(project: Project) -> None:
    baseline = project.folder / "reports" / "baseline.json"
    done = project.rdcodec("check")
    assert done.returncode == 0
    assert "there is no baseline yet" in done.stdout
    assert project.rdcodec("check", "--strict").returncode == 1
    done = project.rdcodec("check", "--update")
    assert (done.returncode, baseline.read_text()) == (2, "{}\n")
    assert "--reason" in done.stderr
    assert project.rdcodec("check", "--update", "--reason", "a first run").returncode == 0
    done = project.rdcodec("check")
    # The clips are too short for the estimate to be met; nothing else may be worse.
    assert {line.split(" of ")[0] for line in done.stdout.splitlines() if "worse: " in line} <= {
        "worse: estimate gap %"
    }
    planted = json.loads(baseline.read_text())
    planted["points"]["neural-high"]["metrics"]["stoi"]["speech"]["mean"] += 0.2
    baseline.write_text(json.dumps(planted))
    done = project.rdcodec("check")
    assert done.returncode == 1
    assert "worse: stoi of neural-high (speech): before" in done.stdout
    assert "| neural-high | speech | stoi |" in (project.folder / "reports/check.md").read_text()
    baseline.write_text("{}\n")


def test_a_trained_model_codes_any_file(project: Project) -> None:
    audio.write(project.folder / "a.wav", tone(0.77, 32_000, channels=2), 32_000)
    for words in (
        ["encode", "a.wav", "a.rdc", "--model", "models/high"],
        ["decode", "a.rdc", "back.flac"],
        ["info", "a.rdc", "--json"],
    ):
        done = project.rdcodec(*words)
        assert done.returncode == 0, done.stderr
    back, rate = audio.read(project.folder / "back.flac")
    assert (rate, back.shape) == (32_000, (2, 24_640))
    assert json.loads(done.stdout)["channels"] == 2


def test_a_trainer_killed_at_any_moment_goes_on(project: Project, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project.folder, copy, ignore=shutil.ignore_patterns(".dvc", ".prefect"))
    params.change(["train.steps=30", "optimizer.save_seconds=0.0001"], copy / "params.yaml")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pipeline.stages.train", "low"]
    subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True)
    whole = (copy / "models/low/training.csv").read_text()
    weights = (copy / "models/low/last.safetensors").read_bytes()
    for name in ("training.csv", "last.safetensors"):
        (copy / "models/low" / name).unlink()
    kills = 0
    while not (copy / "models/low/training.csv").exists():
        state = copy / "checkpoints/low/state.pt"
        before = state.stat().st_mtime_ns if state.exists() else 0
        trainer = subprocess.Popen(command, cwd=copy, env=environment, stdout=subprocess.DEVNULL)
        while trainer.poll() is None and kills < 2:
            if state.exists() and state.stat().st_mtime_ns > before:
                trainer.kill()
                kills += 1
                break
            time.sleep(0.005)
        assert trainer.wait() in (0, -9)
    assert kills >= 1
    assert (copy / "models/low/training.csv").read_text() == whole
    assert (copy / "models/low/last.safetensors").read_bytes() == weights


def test_a_benched_model_is_released_with_its_card(project: Project) -> None:
    name, weights = checkpoint.DEFAULT, project.folder / "codec" / "weights"
    before = {path: path.read_bytes() for path in weights.glob("*.*")}
    done = project.rdcodec("release", "rvq", "--name", name)
    assert done.returncode == 0, done.stderr
    card = (weights / f"{name}.md").read_text()
    kbps = project.summary()["points"]["neural-rvq"]["rates"]["all"]["file_kbps"]
    for fact in (
        f"| neural-rvq | {kbps:.2f} |", "| neural-rvq-q1 |", "| opus-24 |", "libopus 1.6.1",
        "residual, 3 codebooks of 16", "from scratch, 20 steps on 0.0 hours",
        "| speech | synthetic |",
    ):  # fmt: skip
        assert fact in card, fact
    assert (weights / f"{name}.safetensors").read_bytes() == (
        project.folder / "models/rvq/model.safetensors"
    ).read_bytes()
    listed = project.rdcodec("models").stdout
    assert f"{name}  {kbps:.3g}" in listed.replace("0 kbps", " kbps")
    assert ", the default; card: " in listed
    # Without a name it is the one that is taken, and a start for training.
    audio.write(project.folder / "b.wav", tone(0.5, 16_000), 16_000)
    assert project.rdcodec("encode", "b.wav", "b.rdc").returncode == 0
    assert json.loads(project.rdcodec("info", "b.rdc", "--json").stdout)["codebooks"] == 3
    done = project.rdcodec("release", "nothing", "--name", "x")
    assert done.returncode == 2
    assert "nothing: not a model that was trained and scored here" in done.stderr
    for path in weights.glob("*.*"):
        path.unlink()
    for path, data in before.items():
        path.write_bytes(data)


def test_a_failing_stage_fails_the_run_and_leaves_the_rest(project: Project) -> None:
    project.set("coders.opus={library: /nowhere/libopus.so}")
    done = project.rdcodec("run", "code")
    project.set("coders={}")
    assert done.returncode == 1
    why = "opus: library: /nowhere/libopus.so: no such file"
    for name in ("code@opus-6", "code@opus-24"):
        assert f"{name}: {why}" in done.stdout.splitlines()[-1], done.stderr
    assert project.dvc("repro").returncode == 0


def test_own_recordings_in_a_folder(project: Project, tmp_path: Path) -> None:
    """Several formats, rates and channels; what is unreadable is listed and skipped."""
    for split, count, higher in (("train", 4, 0), ("test", 2, 40)):
        for kind, pitch in (("speech", 150 + higher), ("music", 330 + higher)):
            for index in range(count):
                rate = (16_000, 44_100, 48_000)[index % 3]
                path = tmp_path / split / kind / f"{index}.{('wav', 'flac', 'ogg')[index % 3]}"
                path.parent.mkdir(parents=True, exist_ok=True)
                wave = tone(1.6, rate, pitch * (1 + index / 7), channels=1 + index % 2)
                soundfile.write(path, wave.T, rate)
        (tmp_path / split / "speech" / "empty.wav").touch()
        (tmp_path / split / "music" / "text.mp3").write_text(f"no audio to {split}")
    before = (project.folder / "params.yaml").read_text()
    project.set(
        "corpus.source=folder", f"corpus.train={tmp_path}/train", f"corpus.test={tmp_path}/test"
    )
    done = project.dvc("repro", "prepare")
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = pd.read_csv(project.folder / "data" / "skipped.csv")
    assert list(skipped.split) == ["train", "train", "test", "test"]
    assert any("empty.wav: is empty" in reason for reason in skipped.reason)
    assert any("text.mp3: cannot be read" in reason for reason in skipped.reason)
    test = pd.read_csv(project.folder / "data" / "test" / "manifest.csv")
    assert sorted(test.file) == [
        "music__0.flac", "music__1.flac", "speech__0.flac", "speech__1.flac",
    ]  # fmt: skip
    assert (test.channels == 1).all()
    assert set(test.sample_rate) == {16_000, 44_100}
    for row in test.itertuples():
        found = soundfile.info(project.folder / "data" / "test" / row.file)
        assert (found.samplerate, found.channels) == (row.sample_rate, 1)
    # A file added to the folder is noticed.
    soundfile.write(tmp_path / "test" / "music" / "9.wav", tone(1.6, 8_000).T, 8_000)
    assert "Running stage 'prepare'" in project.dvc("repro", "prepare").stdout
    # Nothing to test with is an error that names the key.
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "test").mkdir()
    done = project.dvc("repro", "prepare")
    assert done.returncode != 0
    assert "no audio files" in done.stdout + done.stderr
    (project.folder / "params.yaml").write_text(before)
