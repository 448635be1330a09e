import ctypes.util
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from codec import audio, checkpoint
from codec.errors import UserError
from pipeline.coders import Coder, bench, ogg
from pipeline.coders.neural import NeuralCoder
from pipeline.coders.opus import OpusCoder, library_path
from pipeline.corpora import manifest
from pipeline.params import OpusSettings
from tests.conftest import tiny_codec, tone

SETTINGS = OpusSettings(
    application="audio",
    complexity=10,
    vbr=True,
    constrained_vbr=False,
    frame_ms=20,
    library="av",
)


def seconds_of(wave: np.ndarray, rate: int) -> float:
    return wave.shape[-1] / rate


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_opus_keeps_time_to_the_sample(rate: int, channels: int) -> None:
    """Decoded audio is in step with the original: best correlation at a lag of zero."""
    wave = tone(1.3, rate, pitch=220, channels=channels)
    wave *= np.linspace(0.2, 1, wave.shape[-1], dtype=np.float32)
    coder = OpusCoder(64 * channels, SETTINGS)
    decoded, decoded_rate = coder.decode(coder.encode(wave, rate))
    back = audio.resample(decoded, decoded_rate, rate)
    assert decoded_rate == 48_000
    assert decoded.shape == (channels, -(-wave.shape[-1] * 48_000 // rate))
    inner = slice(4_000, wave.shape[-1] - 4_000)
    lags = {
        lag: float(
            np.sum(wave[:, inner] * np.roll(back, -lag, axis=-1)[:, : wave.shape[-1]][:, inner])
        )
        for lag in range(-20, 21)
    }
    assert max(lags, key=lambda lag: lags[lag]) == 0


def test_another_decoder_reads_our_ogg_files_the_same() -> None:
    wave = tone(2.0, 48_000)
    coder = OpusCoder(24, SETTINGS)
    data = coder.encode(wave, 48_000)
    other, rate = soundfile.read(io.BytesIO(data), always_2d=True, dtype="float32")
    ours, _ = coder.decode(data)
    assert rate == 48_000
    assert other.T.shape == ours.shape == wave.shape
    assert np.abs(other.T - ours).max() < 1e-5


def test_measured_rates_follow_the_nominal_ones() -> None:
    wave = np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32) * 0.1
    sizes = [OpusCoder(kbps, SETTINGS).payload_bytes(OpusCoder(kbps, SETTINGS).encode(wave, 48_000))
             for kbps in (6, 12, 24)]  # fmt: skip
    kbps = [size * 8 / 2 / 1000 for size in sizes]
    assert kbps == sorted(kbps)
    assert kbps == pytest.approx([6, 12, 24], rel=0.35)


def test_opus_options_reach_the_encoder_and_the_table() -> None:
    wave = np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32) * 0.1
    sizes = {
        vbr: OpusCoder(24, SETTINGS.model_copy(update={"vbr": vbr})).encode(wave, 48_000)
        for vbr in (True, False)
    }
    assert len(sizes[True]) != len(sizes[False])
    long_frames = OpusCoder(24, SETTINGS.model_copy(update={"frame_ms": 60}))
    decoded, _ = long_frames.decode(long_frames.encode(wave, 48_000))
    assert decoded.shape == wave.shape
    assert OpusCoder(24, SETTINGS).about() == {
        "coder": "libopus 1.6.1",
        "nominal_kbps": 24,
        "application": "audio",
        "complexity": 10,
        "vbr": True,
        "constrained_vbr": False,
        "frame_ms": 20,
    }


def test_where_libopus_is_missing_the_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(UserError, match=r"opus\.settings\.library: this system has no libopus"):
        library_path("system")
    with pytest.raises(UserError, match="no such file"):
        library_path("/nowhere/libopus.so")


def test_ogg_pages_hold_large_and_many_packets() -> None:
    packets = [
        b"\x78" + bytes([index % 251]) * (size - 1)
        for index, size in enumerate([2, 254, 255, 256, 700] * 60)
    ]
    data = ogg.pack_opus(packets, 960, 312, 960 * len(packets) - 312, 1, 48_000)
    from pipeline.coders.opus import _unpack

    channels, pre_skip, end, found = _unpack(data)
    assert (channels, pre_skip, end) == (1, 312, 960 * len(packets))
    assert found == packets


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    clips = []
    for name, kind, rate in [("a", "speech", 16_000), ("b", "music", 44_100)]:
        wave = tone(0.7, rate)
        audio.write(tmp_path / "test" / f"{name}.flac", wave, rate)
        clips.append(
            manifest.Clip(
                file=f"{name}.flac", kind=kind, source=name, language="", sample_rate=rate,
                channels=1, seconds=0.7, licence="", origin="",
            )
        )  # fmt: skip
    manifest.write(tmp_path / "test", clips)
    return tmp_path / "test"


@pytest.mark.parametrize("which", ["neural", "opus"])
def test_every_coder_goes_the_same_way_through_the_bench(which: str, corpus: Path) -> None:
    if which == "neural":
        checkpoint.save(tiny_codec(), "model.safetensors")
        coder: Coder = NeuralCoder("neural-x", Path("model.safetensors"))
    else:
        coder = OpusCoder(12, SETTINGS)
    bench.code_clips(coder, corpus)
    table = pd.read_csv(bench.table_path(coder.name))
    assert list(table["clip"]) == ["a", "b"]
    assert json.loads(table.about[0]) == coder.about()
    for clip in manifest.read(corpus):
        file = Path("coded") / coder.name / f"{clip.name}{coder.suffix}"
        row = table[table["clip"] == clip.name].iloc[0]
        assert row.file_bytes == file.stat().st_size
        assert 0 < row.payload_bytes < row.file_bytes
        decoded, rate = audio.read(bench.decoded_path(coder.name, clip))
        original, original_rate = audio.read(corpus / clip.file)
        assert (rate, decoded.shape) == (original_rate, original.shape)
        if which == "neural":
            assert row.payload_bytes * 8 == pytest.approx(row.estimated_bits, rel=0.05)
        else:
            assert np.isnan(row.estimated_bits)
