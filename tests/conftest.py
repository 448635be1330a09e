"""What tests share: small models, small signals, and the project's own files."""

import importlib.util
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from codec.coding import index_context
from codec.config import CodecConfig
from codec.model import AudioCodec

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
# Changes of params.yaml for a folder that is no checkout, where released models have no file.
WITHOUT_RELEASED = [
    "models={b050: {beta: 0.00005}}",
    "points={neural-b050: {coder: rdcodec, from: models/b050/model.safetensors, series: neural}, "
    "opus-12: {coder: opus, from: data/test, options: {kbps: 12}, series: opus}}",
]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

SPECTRAL = CodecConfig(
    architecture="spectral",
    sample_rate=8_000,
    strides=[80],
    window=320,
    widths=[16],
    latent_channels=6,
    encoder_blocks=1,
    decoder_blocks=1,
)
WAVEFORM = CodecConfig(
    architecture="waveform",
    sample_rate=8_000,
    strides=[4, 5],
    widths=[8, 16],
    latent_channels=6,
    encoder_blocks=1,
    decoder_blocks=1,
)
# The residual quantizer and two audio channels in one latent, which go together in no other way.
RESIDUAL = CodecConfig.model_validate(
    SPECTRAL.model_dump()
    | {"channels": 2, "quantizer": "residual", "codebooks": 3, "codebook_size": 16}
)
# A context model, gains of bands and several levels, stereo in one latent: what is released.
TRANSFORM = CodecConfig(
    architecture="transform",
    sample_rate=8_000,
    channels=2,
    strides=[40],
    window=120,
    widths=[8],
    latent_channels=64,
    encoder_blocks=1,
    decoder_blocks=1,
    levels=4,
    gain_bands=4,
    entropy="context",
)
INDICES = RESIDUAL.model_copy(update={"entropy": "context"})
CONFIGS = {"spectral": SPECTRAL, "waveform": WAVEFORM, "residual": RESIDUAL, "indices": INDICES}


def pytest_configure() -> None:
    """Let tests that send Ctrl-C work where a shell has put pytest into the background, too.

    Such a shell has Ctrl-C ignored, and every process started from there would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def tiny_codec(config: CodecConfig = SPECTRAL, seed: int = 0) -> AudioCodec:
    """A model with random weights and frozen tables, whose symbols are not all zero."""
    torch.manual_seed(seed)
    codec = AudioCodec(config)
    with torch.no_grad():
        if config.architecture != "transform":  # which codes without any training
            codec.encoder.head.weight.mul_(8)
        if config.quantizer == "residual":
            codec.prior.logits.normal_()
    codec.freeze()
    if isinstance(codec.tables, index_context.IndexTables):
        codec.tables = index_context.fit(
            [wandering(config.codebooks, config.codebook_size, 2_000)], config.codebook_size
        )
    codec.model_hash = b"test"
    return codec


def wandering(rows: int, size: int, frames: int, seed: int = 0) -> np.ndarray:
    """(rows, frames) indices that go on by a small step, further up where the row before is odd."""
    rng = np.random.default_rng(seed)
    found = np.empty((rows, frames), np.int32)
    for row in range(rows):
        steps = rng.integers(0, 2, frames) + (2 * (found[row - 1] % 2) if row else 0)
        found[row] = np.cumsum(steps) % size
    return found


@pytest.fixture(scope="session", params=CONFIGS.values(), ids=CONFIGS)
def codec(request: pytest.FixtureRequest) -> AudioCodec:
    return tiny_codec(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tone(seconds: float, rate: int, pitch: float = 440.0, channels: int = 1) -> np.ndarray:
    """(channels, samples) float32: a sine with some harmonics, another pitch per channel."""
    time = np.arange(round(seconds * rate)) / rate
    rows = [
        sum(np.sin(2 * np.pi * pitch * (1 + index) * k * time) / k for k in (1, 2, 3))
        for index in range(channels)
    ]
    return (0.3 * np.stack(rows)).astype(np.float32)


def recorded(name: str) -> Path:
    """A recording beside the repository; the test is skipped where it is not there."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """Chromium, started by Playwright; tests are skipped where either is missing."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("Playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Containers that run tests as root offer no user namespaces to Chromium's sandbox.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser
        browser.close()
