"""Speed of coding on one core, and memory over duration.

Prints a Markdown table: encoding and decoding of 60 s at 24 kHz as multiples of real time, entropy
coding included, the median of several runs; EnCodec's 24 kHz architecture at 6 kbps beside it where
`transformers` is installed (random weights do: speed does not depend on them); then the range coder
alone, and peak memory for a minute and for an hour.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from codec import audio, range_coder
from codec.config import PRESETS
from codec.entropy_model import FrozenTables
from codec.model import AudioCodec

RUNS = 5
SECONDS = 60
RATE = 24_000


def random_codec(preset: str) -> AudioCodec:
    """A preset with random weights whose symbols cost about what a trained model's do."""
    torch.manual_seed(0)
    codec = AudioCodec(PRESETS[preset])
    codec.tables = codec.prior.freeze()
    codec.model_hash = b"test"
    return codec.eval()


def signal(seconds: float) -> np.ndarray:
    """(1, samples) of noise with a moving level, at 24 kHz."""
    rng = np.random.default_rng(0)
    samples = int(seconds * RATE)
    level = np.repeat(rng.random(samples // 2_400 + 1), 2_400)[:samples]
    return (0.3 * level * rng.standard_normal(samples)).astype(np.float32)[None]


def seconds_of(work: Callable[[], object]) -> float:
    """Median wall time of a call, after one call to warm up."""
    work()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def rows() -> list[tuple[str, float, float]]:
    """Name, encoding and decoding as multiples of real time."""
    wave = signal(SECONDS)
    found = []
    for preset in ("general-24k",):
        codec = random_codec(preset)
        data = codec.compress(wave, RATE)
        encoding = seconds_of(lambda: codec.compress(wave, RATE))  # noqa: B023
        decoding = seconds_of(lambda: codec.decompress(data))  # noqa: B023
        found.append((f"rdcodec {preset}", SECONDS / encoding, SECONDS / decoding))
    try:
        from transformers import EncodecConfig, EncodecModel
    except ImportError:
        print("EnCodec is left out: `pip install transformers` brings its architecture\n")
        return found
    model = EncodecModel(EncodecConfig()).eval()
    tensor = torch.from_numpy(wave)[None]
    with torch.inference_mode():
        codes = model.encode(tensor, bandwidth=6.0)
        encoding = seconds_of(lambda: model.encode(tensor, bandwidth=6.0))
        decoding = seconds_of(lambda: model.decode(codes.audio_codes, codes.audio_scales))
    found.append(
        ("EnCodec 24 kHz, 6 kbps, no entropy coding", SECONDS / encoding, SECONDS / decoding)
    )
    return found


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
    codec = random_codec("general-24k")
    minute = signal(60)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coded.rdc"
        with path.open("w+b") as file:
            codec.compress_to(file, (minute for _ in range(seconds // 60)), RATE)
            file.seek(0)
            header, parts = codec.decompress_parts(file)
            audio.write_parts(Path(folder) / "back.wav", parts, RATE, header.channels)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        code_file(int(sys.argv[1]))
        return
    print("| 60 s at 24 kHz, one core | encode, × real time | decode, × real time |")
    print("| --- | ---: | ---: |")
    for name, encoding, decoding in rows():
        print(f"| {name} | {encoding:.0f} | {decoding:.0f} |")
    encoding, decoding = (rate / 1e6 for rate in coder_rates())
    print(f"\nRange coder: {encoding:.0f} M symbols/s encoding, {decoding:.0f} M decoding.")
    minute, hour = peak_memory(60), peak_memory(3600)
    print(f"Peak memory: {minute:.0f} MB for a minute, {hour:.0f} MB for an hour.")


if __name__ == "__main__":
    main()
