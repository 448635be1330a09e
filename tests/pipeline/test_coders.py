import ctypes.util
import io
import json
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import soundfile

from codec import audio, checkpoint
from codec.errors import UserError
from pipeline import coders, layout
from pipeline.coders import Coder, Unavailable, bench, build, ogg
from pipeline.coders.frames import _unpacked as frames_of
from pipeline.coders.opus import OpusCoder, enhances, library_path
from pipeline.corpora import manifest
from pipeline.metrics.delay import delay_ms
from tests.conftest import ROOT, tiny_codec, tone


def seconds_of(wave: np.ndarray, rate: int) -> float:
    return wave.shape[-1] / rate


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_opus_keeps_time_to_the_sample(rate: int, channels: int) -> None:
    """Decoded audio is in step with the original: best correlation at a lag of zero."""
    wave = tone(1.3, rate, pitch=220, channels=channels)
    wave *= np.linspace(0.2, 1, wave.shape[-1], dtype=np.float32)
    coder = OpusCoder(64 * channels)
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
    coder = OpusCoder(24)
    data = coder.encode(wave, 48_000)
    other, rate = soundfile.read(io.BytesIO(data), always_2d=True, dtype="float32")
    ours, _ = coder.decode(data)
    assert rate == 48_000
    assert other.T.shape == ours.shape == wave.shape
    assert np.abs(other.T - ours).max() < 1e-5


def test_measured_rates_follow_the_nominal_ones() -> None:
    wave = np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32) * 0.1
    sizes = [OpusCoder(kbps).payload_bytes(OpusCoder(kbps).encode(wave, 48_000))
             for kbps in (6, 12, 24)]  # fmt: skip
    kbps = [size * 8 / 2 / 1000 for size in sizes]
    assert kbps == sorted(kbps)
    assert kbps == pytest.approx([6, 12, 24], rel=0.35)


@pytest.mark.parametrize("name", ["opus", "mp3", "aac"])
def test_a_timeline_has_every_bit_where_it_sounds(name: str) -> None:
    """Bits of all packets, most of them in the loud second half."""
    wave = np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32) * 0.1
    wave[:, :48_000] = 0
    coder = build(name, {"kbps": 32})
    data = coder.encode(wave, 48_000)
    bits = json.loads(bench.binned(coder.timeline(data), 2.0))
    assert len(bits) == 20
    assert sum(bits) == 8 * coder.payload_bytes(data)
    if name == "opus":  # the others have next to constant rates
        assert sum(bits[:9]) < 0.2 * sum(bits)


def test_a_neural_timeline_has_the_estimated_bits(tmp_path: Path) -> None:
    model = tiny_codec()
    checkpoint.save(model, tmp_path / "model.safetensors")
    coder = build("rdcodec", {"weights": str(tmp_path / "model.safetensors")})
    data = coder.encode(tone(1.0, 8_000), 8_000)
    starts, bits = coder.timeline(data) or ([], [])
    assert bits.sum() == pytest.approx(coder.estimated_bits(data))
    assert len(starts) == 100
    assert starts[-1] == pytest.approx(0.99)


def test_opus_options_reach_the_encoder_and_the_table() -> None:
    wave = np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32) * 0.1
    sizes = {vbr: OpusCoder(24, vbr=vbr).encode(wave, 48_000) for vbr in (True, False)}
    assert len(sizes[True]) != len(sizes[False])
    long_frames = OpusCoder(24, frame_ms=60)
    decoded, _ = long_frames.decode(long_frames.encode(wave, 48_000))
    assert decoded.shape == wave.shape
    assert OpusCoder(24).about() == {
        "coder": "libopus 1.6.1",
        "nominal_kbps": 24,
        "application": "audio",
        "complexity": 10,
        "vbr": True,
        "constrained_vbr": False,
        "frame_ms": 20,
    }


@pytest.mark.parametrize(("bandwidth", "khz"), [("narrow", 4), ("wide", 8), ("full", 20)])
def test_opus_s_bandwidth_is_held(bandwidth: str, khz: int) -> None:
    wave = np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32) * 0.1
    coder = OpusCoder(12, bandwidth=bandwidth)
    details = coder.details(coder.encode(wave, 48_000))
    assert details[f"bandwidth {khz} kHz"] == pytest.approx(1)
    assert coder.about()["bandwidth"] == bandwidth
    assert "decoder_complexity" not in coder.about()


def test_a_libopus_without_speech_enhancement_is_found_out() -> None:
    """PyAV's takes a decoder's complexity, answers that all is well, and does nothing with it."""
    assert not enhances("av")
    with pytest.raises(Unavailable, match=r"libopus 1.6.1 of .* has no models of speech enhance"):
        OpusCoder(8, decoder_complexity=6)


def test_speech_enhancement_changes_what_is_decoded() -> None:
    if ctypes.util.find_library("opus") is None or not enhances("system"):
        pytest.skip("the system's libopus has no models of speech enhancement (LACE)")
    wave = tone(1.0, 48_000, pitch=120)
    plain, better = (
        OpusCoder(9, bandwidth="wide", application="voip", library="system", decoder_complexity=one)
        for one in (0, 6)
    )
    data = plain.encode(wave, 48_000)
    assert data == better.encode(wave, 48_000)
    assert (plain.decode(data)[0] != better.decode(data)[0]).any()


def test_two_libraries_may_be_used_in_one_process() -> None:
    if ctypes.util.find_library("opus") is None:
        pytest.skip("this system has no libopus")
    ours, theirs = (OpusCoder(12, library=library) for library in ("av", "system"))
    assert ours.version == OpusCoder(12).version == "libopus 1.6.1"
    if library_path("av") != library_path("system"):
        assert ours.opuslib is not theirs.opuslib


def test_where_libopus_is_missing_the_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(Unavailable, match=r"opus: library: this system has no libopus"):
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


@pytest.mark.parametrize("which", ["rdcodec", "opus", "mp3", "aac"])
def test_every_coder_goes_the_same_way_through_the_bench(which: str, corpus: Path) -> None:
    checkpoint.save(tiny_codec(), "model.safetensors")
    options = {"weights": "model.safetensors"} if which == "rdcodec" else {"kbps": 32}
    coder = build(which, options)
    bench.code_clips("point", coder, corpus)
    table = pd.read_csv(layout.files_table("point"))
    assert list(table["clip"]) == ["a", "b"]
    assert json.loads(table.about[0]) == coder.about()
    for clip in manifest.read(corpus):
        file = Path("coded/point") / f"{clip.name}{coder.suffix}"
        row = table[table["clip"] == clip.name].iloc[0]
        assert row.file_bytes == file.stat().st_size
        assert 0 < row.payload_bytes < row.file_bytes
        decoded, rate = audio.read(layout.decoded_file("point", clip.name))
        original, original_rate = audio.read(corpus / clip.file)
        assert (rate, decoded.shape) == (original_rate, original.shape)
        if which == "rdcodec":
            assert row.payload_bytes * 8 == pytest.approx(row.estimated_bits, rel=0.05)
        else:
            assert np.isnan(row.estimated_bits)
            assert row.delay_ms == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("name", ["mp3", "aac"])
def test_ffmpeg_s_coders_keep_time_to_the_sample(name: str, rate: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    wave = tone(1.3, rate, pitch=220, channels=channels)
    wave *= np.repeat(rng.random(13), rate // 10).astype(np.float32)[: wave.shape[-1]]
    coder = build(name, {"kbps": 64 * channels})
    data = coder.encode(wave, rate)
    decoded, decoded_rate = coder.decode(data)
    assert decoded.shape[0] == channels
    back = audio.fit_length(audio.resample(decoded, decoded_rate, rate), wave.shape[-1])
    assert delay_ms(reference=wave, degraded=back, sample_rate=rate) == pytest.approx(0, abs=0.1)
    assert np.corrcoef(wave[0], back[0])[0, 1] > 0.95


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_lc3_keeps_time_to_the_sample_and_its_rate(rate: int, channels: int) -> None:
    pytest.importorskip("lc3")
    rng = np.random.default_rng(0)
    wave = tone(1.3, rate, pitch=220, channels=channels)
    wave *= np.repeat(rng.random(13), rate // 10).astype(np.float32)[: wave.shape[-1]]
    coder = build("lc3", {"kbps": 32 * channels})
    data = coder.encode(wave, rate)
    assert coder.payload_bytes(data) * 8 / 1.3 / 1000 == pytest.approx(32 * channels, rel=0.02)
    decoded, decoded_rate = coder.decode(data)
    back = audio.fit_length(audio.resample(decoded, decoded_rate, rate), wave.shape[-1])
    assert delay_ms(reference=wave, degraded=back, sample_rate=rate) == pytest.approx(0, abs=0.1)
    assert np.corrcoef(wave[0], back[0])[0, 1] > 0.95
    with pytest.raises(UserError, match="lc3: 8 kbps for 1 channels: each needs 16 to 320"):
        build("lc3", {"kbps": 8}).encode(wave[:1], rate)


@pytest.mark.parametrize("mode", [700, 1300, 3200])
def test_codec_2_says_when_speech_begins(mode: int) -> None:
    """It keeps no waveform; but a voice after silence comes when it should."""
    pytest.importorskip("pycodec2")
    wave = tone(2.0, 8_000, pitch=120)
    wave[:, :8_000] *= 1e-3
    coder = build("codec2", {"bits_per_second": mode})
    data = coder.encode(wave, 8_000)
    assert coder.payload_bytes(data) * 8 / 2 == pytest.approx(mode, rel=0.05)
    decoded, rate = coder.decode(data)
    assert (rate, decoded.shape) == (8_000, wave.shape)
    level = np.square(decoded[0]).reshape(-1, 80).mean(axis=1)
    begins = int(np.argmax(level > 0.25 * level[120:180].mean()))
    assert begins == pytest.approx(100, abs=5)  # hundredths of a second; frames of 20 or 40 ms
    with pytest.raises(UserError, match="codec2: 9 bit/s is none of 700, 1200"):
        build("codec2", {"bits_per_second": 9})


@pytest.fixture
def amr_wb() -> None:
    try:
        build("amr-wb", {"kbps": 6.6})
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kbps", [6.6, 12.65, 23.85])
def test_amr_wb_keeps_time_and_its_rate(kbps: float, channels: int, amr_wb: None) -> None:
    wave = tone(2.0, 48_000, pitch=300, channels=channels)  # far from its high-pass filters
    wave *= np.repeat(np.random.default_rng(0).random(40), 2_400).astype(np.float32)
    coder = build("amr-wb", {"kbps": kbps})
    data = coder.encode(wave, 48_000)
    frames = coder.timeline(data)[0]
    assert coder.payload_bytes(data) == channels * -(-len(frames) * round(20 * kbps) // 8)
    decoded, rate = coder.decode(data)
    assert (rate, decoded.shape) == (16_000, (channels, 32_000))
    back = audio.resample(decoded, rate, 48_000)
    late = delay_ms(reference=wave, degraded=back, sample_rate=48_000)
    assert late == pytest.approx(0, abs=0.1)
    assert np.corrcoef(wave[0], back[0])[0, 1] > 0.85
    assert str(coder.about()["coder"]).startswith("libvo-amrwbenc.so.0.")


def test_amr_wb_files_are_the_frames_that_other_decoders_read(amr_wb: None) -> None:
    """With what RFC 4867 adds they are an .awb file, and FFmpeg's demuxer finds the mode."""
    wave = tone(1.0, 16_000, pitch=120)
    coder = build("amr-wb", {"kbps": 8.85})
    data = coder.encode(wave, 16_000)
    count = len(coder.timeline(data)[0])
    frames = frames_of(data[5:], count, 177)
    file = b"#!AMR-WB\n" + b"".join(b"\x0c" + frame for frame in frames)
    with av.open(io.BytesIO(file)) as container:
        assert container.streams.audio[0].codec_context.name == "amrwb"
        heard = np.concatenate([one.to_ndarray()[0] for one in container.decode(audio=0)])
    np.testing.assert_array_equal(heard[94 : 94 + 16_000], coder.decode(data)[0][0])


def test_amr_wb_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"amr-wb: 7 kbps is none of 6.6, 8.85, 12.65"):
        build("amr-wb", {"kbps": 7})
    monkeypatch.setattr("pipeline.coders.frames._AMR_WB_LIBRARY", "libnowhere.so.0")
    with pytest.raises(Unavailable, match=r"no libnowhere.so.0; apt-get install") as missing:
        build("amr-wb", {"kbps": 6.6})
    assert missing.value.apt == "libvo-amrwbenc0"


@pytest.mark.parametrize(
    ("name", "module", "options", "extra"),
    [
        ("lc3", "lc3", {"kbps": 16}, "anchors"),
        ("codec2", "pycodec2", {"bits_per_second": 1300}, "anchors"),
        ("dac", "transformers", {"codebooks": 2, "weights": "any"}, "peers"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    name, module, options, extra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Unavailable, match=rf"coders: {name}: .*'rdcodec\[{extra}\]'") as missing:
        build(name, options)
    assert not missing.value.apt


class Late(Coder):
    """A coder that forgets its delay of 5 ms."""

    def encode(self, waveform, sample_rate):
        self.rate, late = sample_rate, np.pad(waveform, ((0, 0), (sample_rate // 200, 0)))
        return late[:, : waveform.shape[-1]].astype("<f4").tobytes()

    def decode(self, data):
        return np.frombuffer(data, "<f4")[None].copy(), self.rate


def test_a_coder_that_shifts_is_reported_and_not_aligned(corpus: Path) -> None:
    rng = np.random.default_rng(0)
    for clip in manifest.read(corpus):  # a tone would be in step again after each period
        noise = 0.1 * rng.standard_normal((1, 44_100)).astype(np.float32)
        audio.write(corpus / clip.file, noise, clip.sample_rate)
    bench.code_clips("late", Late(), corpus)
    table = pd.read_csv(layout.files_table("late"))
    assert table.delay_ms.tolist() == pytest.approx([5, 5], abs=0.1)
    clip = manifest.read(corpus)[0]
    decoded, rate = audio.read(layout.decoded_file("late", clip.name))
    assert not decoded[:, : rate // 200].any()
    # Without more than its two methods, a file is all payload and nothing is known of the rest.
    assert (table.payload_bytes == table.file_bytes).all()
    assert table.estimated_bits.isna().all()
    assert set(table.details) == {"{}"}


class Broken(Late):
    def decode(self, data):
        decoded, rate = super().decode(data)
        decoded[0, 9] = np.nan
        return decoded, rate


def test_a_coder_that_decodes_no_numbers_is_named(corpus: Path) -> None:
    with pytest.raises(UserError, match=r"broken: of .* decodes samples that are no numbers"):
        bench.code_clips("broken", Broken(), corpus)


def test_libopus_s_own_choices_are_counted() -> None:
    wave = np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32) * 0.1
    found = {}
    for kbps in (6, 64):
        coder = build("opus", {"kbps": kbps, "application": "voip"})
        details = found[kbps] = coder.details(coder.encode(wave, 48_000))
        for what in ("mode", "bandwidth"):
            assert sum(v for k, v in details.items() if k.startswith(what)) == pytest.approx(1)
    assert found[6]["mode silk"] > 0.9
    assert found[6]["bandwidth 20 kHz"] == 0
    assert found[64]["mode celt"] + found[64]["mode hybrid"] > 0.9
    assert found[64]["bandwidth 20 kHz"] > 0.9


def test_a_stale_installation_is_told_from_a_wrong_name(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(declared[coders.GROUP]) == coders.OWN
    with pytest.raises(UserError) as wrong:
        build("vorbis", {})
    assert "install" not in str(wrong.value).replace("installed are", "")
    kept = [point for point in entry_points(group=coders.GROUP) if point.name != "aac"]
    monkeypatch.setattr(coders, "entry_points", lambda group: kept)
    with pytest.raises(UserError, match=r"'aac'; installed are amr-wb, .*aac .*\(make install\)"):
        build("aac", {})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vorbis", {}, r"there is no coder 'vorbis'; installed are aac, amr-wb, codec2, dac"),
        ("mp3", {"bitrate": 3}, r"mp3 with options \{'bitrate': 3\}: .*bitrate"),
        ("opus", {"kbps": 12, "frame_ms": 33}, r"opus: frame_ms: "),
        ("opus", {"kbps": 5}, r"opus: kbps: 5 is no whole number from 6 to 510"),
        ("rdcodec", {"weights": "nothing"}, r"nothing: neither a released model"),
    ],
)
def test_a_point_that_cannot_be_built_is_named(name, options, message) -> None:
    with pytest.raises(UserError, match=message):
        build(name, options)


@pytest.fixture(scope="module")
def random_peers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small EnCodec and DAC models with random weights, as folders of the usual form."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("peers")
    encodec = transformers.EncodecModel(
        transformers.EncodecConfig(
            num_filters=4, hidden_size=16, codebook_size=64, codebook_dim=16, num_lstm_layers=1,
            upsampling_ratios=[8, 5, 4, 2],
        )
    )  # fmt: skip
    dac = transformers.DacModel(
        transformers.DacConfig(
            encoder_hidden_size=8, decoder_hidden_size=64, n_codebooks=3, codebook_size=64,
            codebook_dim=4, hidden_size=32, sampling_rate=24_000, downsampling_ratios=[2, 4, 5, 8],
            upsampling_ratios=[8, 5, 4, 2],
        )
    )  # fmt: skip
    encodec.save_pretrained(folder / "encodec")
    dac.save_pretrained(folder / "dac")
    return {name: folder / name for name in ("encodec", "dac")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [("encodec", {"kbps": 3.0}), ("dac", {"codebooks": 2})]
)
def test_peers_run_where_their_weights_are(name, options, random_peers) -> None:
    coder = build(name, {**options, "weights": str(random_peers[name])})
    for rate, channels in ((24_000, 1), (44_100, 2)):
        wave = tone(0.9, rate, channels=channels)
        data = coder.encode(wave, rate)
        decoded, decoded_rate = coder.decode(data)
        assert decoded_rate == 24_000
        assert decoded.shape == (channels, -(-wave.shape[-1] * 24_000 // rate))
        again, _ = coder.decode(data)
        np.testing.assert_array_equal(decoded, again)
    # Indices of 6 bits, 75 frames a second, per channel; nothing else but the header.
    codebooks = data[1]
    assert coder.payload_bytes(data) == -(-68 * codebooks * 2 * 6 // 8)


def test_peers_without_their_weights_say_what_to_do() -> None:
    pytest.importorskip("transformers")
    for name, options in (("encodec", {"kbps": 6.0}), ("dac", {"codebooks": 4})):
        with pytest.raises(UserError, match=r"weights of .* are not on this machine; download"):
            build(name, {**options, "weights": "/nowhere/at/all"})
