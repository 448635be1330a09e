"""Uses an installed codec as its users do; .ci/dist runs this where the bench is not installed."""

import importlib.util
import subprocess
import sys
import time

started, busy = time.perf_counter(), time.process_time()
import codec  # noqa: E402

print(
    f"import codec: {time.perf_counter() - started:.2f} s, "
    f"{time.process_time() - busy:.2f} s of a processor"
)
assert "site-packages" in codec.__file__, codec.__file__
for package in ("dvc", "pandas", "plotly", "prefect", "pesq", "visqol"):
    assert importlib.util.find_spec(package) is None, f"{package} is installed: nothing is shown"

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

model = codec.load("general-24k")
wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000, dtype=np.float32)[None]


def check(name: str, decoded: np.ndarray) -> None:
    """A tone is to come back as that tone: as long, and most of it."""
    assert decoded.shape == wave.shape, (name, decoded.shape)
    assert np.corrcoef(wave[0], decoded[0])[0, 1] > 0.9, name
    print(f"{name}: a tone came back")


data = model.compress(wave, 24_000, kbps=6)
decoded, rate = model.decompress(data)
assert rate == 24_000, rate
check("in Python", decoded)


def command(*words: str) -> str:
    """What the codec's command prints."""
    return subprocess.run(
        [sys.executable, "-m", "codec", *words], check=True, capture_output=True, text=True
    ).stdout


assert command("--version") == f"rdcodec {codec.__version__}\n"
assert "encode" in command("--help")
assert "general-24k" in command("models")
soundfile.write("tone.wav", wave[0], 24_000)
print(command("encode", "tone.wav", "tone.rdc", "--kbps", "6").strip())
command("decode", "tone.rdc", "back.wav")
check("by the commands", soundfile.read("back.wav", dtype="float32", always_2d=True)[0].T)
