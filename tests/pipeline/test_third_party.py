"""A metric, a coder and a corpus of another package join without a change here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import params
from tests.conftest import ROOT, WITHOUT_RELEASED

MODULE = """
import numpy as np
from pipeline.coders import Coder
from pipeline.metrics import Metric, Unscorable


def noise(*, reference, degraded, sample_rate):
    if len(reference) < sample_rate // 2:
        raise Unscorable("too short")
    return float(np.std(reference - degraded) / np.std(reference))


NOISE = Metric(
    name="noise", title="Noise", function=noise, sample_rate=None, higher_is_better=False,
    bounds=(0.0, 10.0), useful=(1.0, 0.0), tolerance=0.01, copy=0.0, self_test=(0.0, 0.4575),
    package="other", mode="plain",
)


def tones(settings):
    from pipeline.corpora.manifest import Clip

    count = int(settings.path.read_text())
    for number in range(count):
        wave = 0.1 * np.sin(np.arange(8000) / (5 + number), dtype=np.float32)[None]
        clip = Clip(
            file=f"{number:03}.flac", kind="music", source=str(number), language="",
            sample_rate=8000, channels=1, seconds=1.0, licence="", origin="",
        )
        if number == 2:
            settings.skip("third", "not in tune")
        else:
            yield clip, wave, 8000


class EightBits(Coder):
    def __init__(self, bits):
        self.scale = 2 ** (bits - 1) - 1

    def encode(self, waveform, sample_rate):
        self.rate = sample_rate
        return np.rint(waveform * self.scale).astype(np.int8).tobytes()

    def decode(self, data):
        return np.frombuffer(data, np.int8)[None] / np.float32(self.scale), self.rate
"""
POINTS = """[rdcodec.metrics]
noise = other:NOISE

[rdcodec.corpora]
tones = other:tones

[rdcodec.coders]
eight-bits = other:EightBits
"""


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with an installed package, as pip leaves one."""
    info = tmp_path / "site/other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "site/other.py").write_text(MODULE)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    params.change(WITHOUT_RELEASED, tmp_path / "params.yaml")
    return tmp_path


def run(folder: Path, code: str) -> "subprocess.CompletedProcess[str]":
    """Python code in a process that finds that package."""
    lines = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(folder / 'site')!r}]\n{code}"
    return subprocess.run(
        [sys.executable, "-c", lines], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_metric_whose_lower_scores_are_better_joins(other: Path) -> None:
    """From its self-test through statistics and the gate to the chart."""
    done = run(other, '''
import json
import numpy as np, pandas as pd
from pipeline import params
from pipeline.metrics import installed, selftest
from pipeline.report import figures
from pipeline.results import gate, tables
from pipeline.results.comparisons import Bench
from pipeline.results.summary import Measured

noise = installed()["noise"]
selftest.require_one(noise)
settings = params.load()
rows, files, curve = [], [], []
for series, factor in (("opus", 1.0), ("neural", 0.5)):
    for step, kbps in enumerate((6.0, 12.0, 24.0, 48.0)):
        point = f"{series}-{step}"
        values = 0.5 - 0.1 * step + np.linspace(0, 0.02, 12)
        for clip, value in enumerate(values):
            common = {"point": point, "clip": str(clip), "kind": "speech", "source": str(clip)}
            rows.append(common | {"metric": "noise", "value": value})
            files.append(common | {"seconds": 2.0, "file_bytes": factor * kbps * 250})
        curve.append({"point": point, "series": series, "metric": "noise", "kind": "speech",
                      "mean": values.mean(), "low": values.min(), "high": values.max(),
                      "n_scored": 12, "n_total": 12, "file_kbps": factor * kbps, "chosen": ""})
curve = pd.DataFrame(curve)
bench = Bench(curve, pd.DataFrame(rows), pd.DataFrame(files), settings.statistics, 0)
(bd,) = bench.bd_rates()
paired = [row.difference for row in bench.paired_tests() if row.difference is not None]

def point(mean):
    return Measured(metrics={"noise": {"speech": {"mean": mean, "n_scored": 1}}}, rates={})

def worse(before, after, check):
    found = gate._quality("p", point(before), point(after), check)
    return [one.worse for one in found]

loose = settings.check.model_copy(update={"metrics": {"noise": 0.5}})
print(json.dumps({
    "percent": bd.percent, "quality": bd.quality, "paired": paired,
    "worse": [worse(0.3, 0.32, settings.check), worse(0.3, 0.2, settings.check),
              worse(0.3, 0.32, loose)],
    "axis": figures.rate_distortion(curve, noise, "speech")["layout"]["yaxis"],
    "provenance": noise.provenance(),
}))
''')  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["percent"] == pytest.approx(-50, abs=1)
    assert found["quality"] > 0.05
    assert min(found["paired"]) > 0.05
    assert found["worse"] == [[True, False], [False, False], [False, False]]
    assert found["axis"]["autorange"] == "reversed"
    assert found["provenance"] == "other 1.0, plain, clip rate"


def test_a_metric_that_is_not_what_it_says_is_named(other: Path) -> None:
    planted = MODULE.replace("0.4575", "0.1")
    (other / "site/other.py").write_text(planted)
    done = run(other, "from pipeline.metrics import selftest; selftest.require()")
    assert "noise (other 1.0, plain, clip rate) is not itself" in done.stderr
    (other / "site/other-1.0.dist-info/entry_points.txt").write_text(
        "[rdcodec.metrics]\nnoise = other:noise\n"
    )
    done = run(other, "from pipeline.metrics import installed; installed()")
    assert "metrics: noise: other:noise is no Metric of that name" in done.stderr


def test_a_coder_joins(other: Path) -> None:
    done = run(other, '''
import numpy as np
from pipeline.coders import build, known
assert "eight-bits" in known()
coder = build("eight-bits", {"bits": 8})
wave = 0.5 * np.sin(np.arange(800) / 9, dtype=np.float32)[None]
decoded, rate = coder.decode(coder.encode(wave, 8000))
assert np.abs(decoded - wave).max() < 0.005, rate
''')  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_corpus_joins(other: Path) -> None:
    (other / "five.txt").write_text("5")
    done = run(other, """
from pathlib import Path
from pipeline import params
from pipeline.corpora import manifest
from pipeline.results import tables
from pipeline.stages import prepare
params.change(["corpus.source=tones", "corpus.train=five.txt", "corpus.test=five.txt"])
prepare.main()
names = {split: [clip.name for clip in manifest.read(Path("data") / split)]
         for split in ("train", "valid", "test")}
assert names["test"] == ["000", "001", "003", "004"], names
assert sorted(names["train"] + names["valid"]) == names["test"], names
assert len(names["valid"]) == 1, names
for split, found in names.items():
    files = sorted(path.stem for path in (Path("data") / split).glob("*.flac"))
    assert files == found, files
skipped = tables.read(Path("data/skipped.csv"))
assert skipped.reason.tolist() == ["not in tune"] * 2
""")  # fmt: skip
    assert done.returncode == 0, done.stderr
    params = (other / "params.yaml").read_text()
    (other / "params.yaml").write_text(params.replace("source: tones", "source: bells"))
    done = run(other, "from pipeline import params; params.load()")
    assert "corpus.source: no corpus 'bells'; installed are folder, synthetic, tones" in done.stderr
