"""Speed of coding on one core, and memory over duration.

Prints Markdown: encoding and decoding as multiples of real time, entropy coding included, the
median of several runs: of the released models of many rates at 6 kbps, of other presets with random
weights (speed does not depend on them), and of EnCodec's 24 kHz architecture at 6 kbps. Then what
finding the level of a rate takes beside encoding at a level, the range coder alone, bytes against
the estimate, and peak memory for a minute and for an hour.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import EncodecConfig, EncodecModel

from codec import audio, load
from codec.coding import bitstream, range_coder
from codec.coding.tables import FrozenTables
from codec.config import PRESETS, CodecConfig
from codec.model import AudioCodec
from pipeline.coders.entropy_coders import fit_histogram

RUNS = 5
SECONDS = 60
RATE = 24_000
KBPS = 6.0
RELEASED = ["general-24k", "general-48k"]
OURS = [
    ("speech-24k", "scalar", SECONDS),
    ("spectral-24k", "scalar", SECONDS),
    ("spectral-24k", "residual", SECONDS),
    ("music-48k", "scalar", SECONDS),
    ("seed-48k", "scalar", 10),
]
"""Preset, quantizer, and seconds of audio."""


def random_codec(preset: str, quantizer: str = "scalar") -> AudioCodec:
    """A preset with random weights, and tables that fit the symbols that it makes of noise."""
    torch.manual_seed(0)
    fields = PRESETS[preset].model_dump() | {"quantizer": quantizer}
    codec = AudioCodec(CodecConfig.model_validate(fields))
    with torch.no_grad():
        # As loud as trained ones, or all symbols would be zero.
        codec.encoder.get_parameter("head.weight").mul_(8)
    codec.freeze()
    wave = signal(20, codec.config.sample_rate, codec.config.channels)
    size = codec.config.codebook_size if codec.layered else None
    codec.tables = fit_histogram(codec.symbols(wave)[0], size)
    return codec


def signal(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """(channels, samples) of noise with a moving level."""
    rng = np.random.default_rng(0)
    samples = int(seconds * rate)
    level = np.repeat(rng.random(samples // 2_400 + 1), 2_400)[:samples]
    return (0.3 * level * rng.standard_normal((channels, samples))).astype(np.float32)


def seconds_of(work: Callable[[], object]) -> float:
    """Median wall time of a call, after one call to warm up."""
    work()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def our_row(preset: str, quantizer: str, seconds: float) -> tuple[str, float, float]:
    """Name, encoding and decoding as multiples of real time, of one of ours."""
    codec = random_codec(preset, quantizer)
    config = codec.config
    wave = signal(seconds, config.sample_rate, config.channels)
    data = codec.compress(wave, config.sample_rate)
    encoding = seconds_of(lambda: codec.compress(wave, config.sample_rate))
    decoding = seconds_of(lambda: codec.decompress(data))
    name = f"rdcodec {preset}, {quantizer}, {sound(config)}"
    return name, seconds / encoding, seconds / decoding


def released_row(name: str) -> tuple[tuple[str, float, float], float]:
    """The same of a released model at the level of ``KBPS``, and how much longer it takes to find.

    The last is the time of encoding with a rate over that of encoding with a level.
    """
    codec = load(name)
    config = codec.config
    wave = signal(SECONDS, config.sample_rate, config.channels)
    data = codec.compress(wave, config.sample_rate, kbps=KBPS)
    level = codec.read_header(io.BytesIO(data)).level
    encoding = seconds_of(lambda: codec.compress(wave, config.sample_rate, level=level))
    finding = seconds_of(lambda: codec.compress(wave, config.sample_rate, kbps=KBPS))
    decoding = seconds_of(lambda: codec.decompress(data))
    row = (f"rdcodec {name}, released, {sound(config)}", SECONDS / encoding, SECONDS / decoding)
    return row, finding / encoding


def sound(config: CodecConfig) -> str:
    """The audio that a codec is for, in words."""
    channels = "stereo" if config.channels > 1 else "mono"
    return f"{config.sample_rate // 1000} kHz {channels}"


def encodec_row() -> tuple[str, float, float]:
    """The same of EnCodec, which leaves the entropy coding out."""
    model: Any = EncodecModel(EncodecConfig())
    model.eval()
    tensor = torch.from_numpy(signal(SECONDS))[None]
    with torch.inference_mode():
        codes = model.encode(tensor, bandwidth=6.0)
        encoding = seconds_of(lambda: model.encode(tensor, bandwidth=6.0))
        decoding = seconds_of(lambda: model.decode(codes.audio_codes, codes.audio_scales))
    name = "EnCodec, 6 kbps without entropy coding, 24 kHz mono"
    return name, SECONDS / encoding, SECONDS / decoding


def coder_rates() -> tuple[float, float]:
    """Symbols per second of the range coder, encoding and decoding."""
    values = np.arange(-60, 61)
    masses = np.exp(-np.abs(values) / 2.0)
    tables = FrozenTables.from_masses(np.tile(masses / masses.sum(), (96, 1)), -60)
    rng = np.random.default_rng(0)
    symbols = np.rint(rng.laplace(0, 2, (96, 20_000))).astype(np.int32)
    data = range_coder.encode(symbols, tables)
    encoding = seconds_of(lambda: range_coder.encode(symbols, tables))
    decoding = seconds_of(lambda: range_coder.decode(data, 20_000, tables))
    return symbols.size / encoding, symbols.size / decoding


def estimate_gap() -> float:
    """Payload over estimated bits of a file of 60 s, less one, in percent."""
    codec = load(RELEASED[0])
    data = codec.compress(signal(SECONDS), RATE, kbps=KBPS)
    header, symbols = codec.read_symbols(io.BytesIO(data))
    payload = 8 * bitstream.describe(io.BytesIO(data)).payload_bytes
    return float(100 * (payload / codec.bits(symbols, header.level).sum() - 1))


def peak_memory(seconds: int) -> float:
    """Peak memory in MB of a process that encodes and decodes a file of so many seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.codec_speed", str(seconds)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def code_file(seconds: int) -> None:
    """Encode and decode a file of noise, part by part, and print the process's peak memory."""
    codec = load(RELEASED[0])
    minute = signal(60)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coded.rdc"
        with path.open("w+b") as file:
            codec.compress_to(file, (minute for _ in range(seconds // 60)), RATE)
            file.seek(0)
            header, parts = codec.decompress_parts(file)
            audio.write_parts(Path(folder) / "back.wav", parts, RATE, header.channels)
    # Not ru_maxrss, which a process inherits from the one that started it.
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    print(int(line.split()[1]) / 1024)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        code_file(int(sys.argv[1]))
        return
    print("| one core | encode, × real time | decode, × real time |")
    print("| --- | ---: | ---: |")
    released = [released_row(name) for name in RELEASED]
    rows = [our_row(preset, quantizer, seconds) for preset, quantizer, seconds in OURS]
    for name, encoding, decoding in [*(row for row, _ in released), *rows, encodec_row()]:
        print(f"| {name} | {encoding:.1f} | {decoding:.1f} |", flush=True)
    for name, (_, longer) in zip(RELEASED, released, strict=True):
        print(f"\n{name}: encoding for {KBPS:g} kbps takes {longer:.2f} times encoding at a level.")
    encoding, decoding = (rate / 1e6 for rate in coder_rates())
    print(f"\nRange coder: {encoding:.0f} M symbols/s encoding, {decoding:.0f} M decoding.")
    print(f"Payload against estimated bits, 60 s: {estimate_gap():+.3f} %.")
    minute, hour = peak_memory(60), peak_memory(3600)
    print(f"Peak memory: {minute:.0f} MB for a minute, {hour:.0f} MB for an hour.")


if __name__ == "__main__":
    main()
