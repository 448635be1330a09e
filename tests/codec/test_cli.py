import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from codec import audio, checkpoint
from codec.cli import COMMANDS, application
from tests.conftest import ROOT, tiny_codec, tone

APP = application(*COMMANDS)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model in models/tiny and a recording."""
    checkpoint.save(tiny_codec(), tmp_path / "models" / "tiny" / "model.safetensors")
    audio.write(tmp_path / "in.wav", tone(1.2345, 22_050, channels=2), 22_050)
    (tmp_path / "there.rdc").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rdcodec(*words: str) -> "subprocess.CompletedProcess[str]":
    """The installed command as a shell would start it."""
    command = [sys.executable, "-m", "pipeline.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=None, check=False)


def test_encode_info_decode(workplace: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(APP, ["encode", "in.wav", "out.rdc", "--model", "models/tiny"])
    assert done.exit_code == 0, done.output
    done = runner.invoke(APP, ["info", "out.rdc", "--json"])
    facts = json.loads(done.output)
    assert facts["sample_rate"] == 22_050
    assert facts["channels"] == 2
    assert facts["file_bytes"] == (workplace / "out.rdc").stat().st_size
    assert "compression_ratio" in runner.invoke(APP, ["info", "out.rdc"]).output
    # The model is found by its hash.
    done = runner.invoke(APP, ["decode", "out.rdc", "back.wav"])
    assert done.exit_code == 0, done.output
    back, rate = audio.read("back.wav")
    wave, _ = audio.read("in.wav")
    assert (rate, back.shape) == (22_050, wave.shape)
    model = checkpoint.load(Path("models/tiny/model.safetensors"))
    expected, _ = model.decompress((workplace / "out.rdc").read_bytes())
    assert np.array_equal(audio.to_int16(back), audio.to_int16(expected))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "absent.wav", "a.rdc", "--model", "models/tiny"], "absent.wav: no such file"),
        (["encode", "in.wav", "a.rdc", "--model", "absent"], "absent: neither a released model"),
        (["encode", "in.wav", "in.wav", "--model", "models/tiny"], "in.wav: is the input itself"),
        (["trim", "in.wav", "there.rdc", "--codebooks", "1"], "there.rdc: exists already"),
        (["decode", "in.wav", "a.wav"], "in.wav: not an .rdc file"),
        (["info", "in.wav"], "in.wav: not an .rdc file"),
        (["run"], "params.yaml: no such file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    workplace: Path, words: list[str], message: str
) -> None:
    done = rdcodec(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not (workplace / "a.rdc").exists()
    assert not (workplace / "a.wav").exists()


def test_an_output_that_is_there_is_kept_unless_forced(workplace: Path) -> None:
    (workplace / "a.rdc").write_bytes(b"kept")
    words = ["encode", "in.wav", "a.rdc", "--model", "models/tiny"]
    done = rdcodec(*words)
    assert done.returncode == 2
    assert done.stderr == "error: a.rdc: exists already; --force overwrites it\n"
    assert (workplace / "a.rdc").read_bytes() == b"kept"
    assert rdcodec(*words, "--force").returncode == 0
    assert (workplace / "a.rdc").read_bytes() != b"kept"


def test_a_file_whose_model_is_not_at_hand_says_so(workplace: Path) -> None:
    assert rdcodec("encode", "in.wav", "a.rdc", "--model", "models/tiny").returncode == 0
    (workplace / "models" / "tiny" / "model.safetensors").rename(workplace / "other.safetensors")
    done = rdcodec("decode", "a.rdc", "a.wav")
    assert done.returncode == 2
    assert "name it with --model" in done.stderr
    assert rdcodec("decode", "a.rdc", "a.wav", "--model", "other.safetensors").returncode == 0


def test_the_command_starts_without_torch() -> None:
    """`rdcodec --help` answers at once: heavy libraries load when a command needs them."""
    code = (
        "import sys, pipeline.cli;"
        "print([name for name in ('torch', 'dvc', 'prefect') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_verify_knows_whole_files_from_damaged_ones(workplace: Path) -> None:
    rdcodec("encode", "in.wav", "a.rdc", "--model", "models/tiny")
    assert "whole, 1 chunks" in rdcodec("verify", "a.rdc").stdout
    data = bytearray((workplace / "a.rdc").read_bytes())
    data[-1] ^= 1
    (workplace / "a.rdc").write_bytes(data)
    done = rdcodec("verify", "a.rdc")
    assert done.returncode == 2
    assert done.stderr == "error: a.rdc: chunk 0 of 1 is damaged or cut off\n"


def test_part_of_a_file_and_a_damaged_one(workplace: Path) -> None:
    audio.write("long.wav", tone(35, 11_025), 11_025)
    rdcodec("encode", "long.wav", "a.rdc", "--model", "models/tiny")
    rdcodec("decode", "a.rdc", "all.wav")
    whole, rate = audio.read("all.wav")
    done = rdcodec("decode", "a.rdc", "part.wav", "--start", "19.25", "--duration", "2.5")
    assert done.returncode == 0, done.stderr
    part, _ = audio.read("part.wav")
    expected = whole[:, round(19.25 * rate) : round(21.75 * rate)]
    assert np.abs(part - expected).max() <= 2 / 32768
    assert rdcodec("decode", "a.rdc", "no.wav", "--start", "99").returncode == 2
    # Damage in the second chunk.
    data = bytearray((workplace / "a.rdc").read_bytes())
    data[len(data) * 3 // 7] ^= 255
    (workplace / "a.rdc").write_bytes(data)
    assert rdcodec("decode", "a.rdc", "no.wav").returncode == 2
    assert not (workplace / "no.wav").exists()
    done = rdcodec("decode", "a.rdc", "gap.wav", "--skip-damaged")
    assert done.returncode == 0
    assert "silence from 10 to 20.00 s" in done.stdout
    gap, _ = audio.read("gap.wav")
    assert gap.shape == whole.shape
    middle = slice(round(10.1 * rate), round(19.9 * rate))
    assert not gap[:, middle].any()
    assert np.array_equal(gap[:, : 9 * rate], whole[:, : 9 * rate])
    assert np.array_equal(gap[:, 21 * rate :], whole[:, 21 * rate :])


def test_folders_keep_what_is_there_and_report_what_fails(workplace: Path) -> None:
    # The ending stays where two differ in it alone, and in what is called like one of these then.
    for name in ("one.wav", "deep/two.flac", "deep/two.wav", "deep/two.wav.flac"):
        audio.write(workplace / "audio" / name, tone(0.3, 16_000), 16_000)
    (workplace / "audio" / "broken.wav").write_text("no")
    words = ["encode", "audio", "coded", "--model", "models/tiny", "--jobs", "2"]
    done = rdcodec(*words)
    assert done.returncode == 2
    assert "4 files done, 0 kept as they were, 1 failed" in done.stdout
    assert "error: audio/broken.wav: cannot be read as audio" in done.stderr
    names = sorted(path.relative_to("coded").as_posix() for path in Path("coded").rglob("*.rdc"))
    assert names == ["deep/two.flac.rdc", "deep/two.wav.flac.rdc", "deep/two.wav.rdc", "one.rdc"]
    assert "0 files done, 4 kept as they were, 1 failed" in rdcodec(*words).stdout
    done = rdcodec("decode", "coded", "back")
    assert "4 files done" in done.stdout
    assert audio.read("back/deep/two.flac.wav")[0].shape == (1, 4_800)
