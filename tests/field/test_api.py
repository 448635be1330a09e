"""The edge of the Python API: what arrays, bytes and contexts users have."""

import io
import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

import codec
from codec import audio
from codec.errors import AudioError, UserError
from codec.model import AudioCodec
from tests.conftest import ROOT
from tests.field.conftest import MODEL

RATE = 16_000
# Multiples of 1/128, which the shortest floats hold exactly.
WAVE = np.round(40 * np.sin(np.arange(RATE // 2) / 9)).astype(np.float32) / 128
RDC = ROOT / "tests" / "golden" / "spectral.rdc"


@pytest.fixture(scope="module")
def model() -> AudioCodec:
    return codec.load(MODEL)


@pytest.fixture(scope="module")
def right(model: AudioCodec) -> bytes:
    return model.compress(WAVE, RATE)


SAME = {
    "list": WAVE.tolist(),
    "float64": WAVE.astype(np.float64),
    "float16": WAVE.astype(np.float16),
    "big-endian": WAVE.astype(">f4"),
    "not contiguous": np.repeat(WAVE, 2)[::2],
    "column-major": np.asfortranarray(WAVE[None]),
    "read-only": np.frombuffer(WAVE.tobytes(), np.float32),
    "tensor": torch.from_numpy(WAVE),
    "tensor with grad": torch.from_numpy(WAVE.copy()).requires_grad_(),
    "bfloat16": torch.from_numpy(WAVE).bfloat16(),
}


@pytest.mark.parametrize("name", SAME)
def test_what_holds_the_same_samples_gives_the_same_bytes(
    model: AudioCodec, right: bytes, name: str
) -> None:
    assert model.compress(SAME[name], RATE) == right
    file = io.BytesIO()
    model.compress_to(file, [SAME[name]], RATE)
    assert file.getvalue() == right


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (WAVE[None, None], r"shape \(1, 1, 8000\)"),
        (np.float32(1), r"shape \(\)"),
        (torch.from_numpy(WAVE)[None, None], r"shape \(1, 1, 8000\)"),
        (np.array(["a.wav"]), "samples of type <U5"),
        ("a.wav", r"shape \(\)|samples of type"),
        (np.zeros(100, np.int16), r"type int16; pass floats in .*: samples / 32768$"),
        (np.zeros(100, ">i2"), r"type >i2; pass floats in .*: samples / 32768$"),
        (np.zeros(100, np.int32), r"type int32; pass floats in .*: samples / 2147483648$"),
        (np.zeros(100, np.uint8), r"type uint8; .*: \(samples - 128\) / 128$"),
        (torch.zeros(100, dtype=torch.int16), "samples of type int16"),
        (np.zeros(100, np.int64), "samples of type int64"),
        (np.zeros(100, bool), "samples of type bool"),
        (np.zeros(100, np.complex64), "samples of type complex64"),
        ([[0.0, 1.0], [0.0]], "not an array"),
        (np.zeros((48_000, 2), np.float32), r"\(channels, samples\)"),
        (np.array([0.0, 1e300]), "sample 1 is NaN or infinite"),
        ([], "no samples"),
        (torch.from_numpy(WAVE).to_sparse(), "not an array"),
        (torch.empty(8_000, device="meta"), "not an array"),
        (np.ma.masked_greater(WAVE, 0.3), "is NaN or infinite"),
    ],
)
def test_anything_else_is_told_what_to_be(model: AudioCodec, samples, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        model.compress(samples, RATE)


@pytest.mark.parametrize("rate", [16_000.0, np.int64(16_000), np.float32(16_000)])
def test_rates_that_are_whole(model: AudioCodec, right: bytes, rate) -> None:
    assert model.compress(WAVE, rate) == right


@pytest.mark.parametrize("level", ["0", 0.5, [0]])
def test_levels_that_are_none(model: AudioCodec, level) -> None:
    with pytest.raises(UserError, match="pass a whole number"):
        model.compress(WAVE, RATE, level=level)


@pytest.mark.parametrize("rate", [16_000.5, "16k", None, float("nan"), float("inf"), 0, -16_000])
def test_rates_that_are_none(model: AudioCodec, rate) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        model.compress(WAVE, rate)


def test_parts_of_one_waveform_have_one_number_of_channels(model: AudioCodec) -> None:
    with pytest.raises(AudioError, match="1 channels, and in a later part 2"):
        model.compress_to(io.BytesIO(), [WAVE[None], np.stack([WAVE, WAVE])], RATE)


def test_one_dimension_can_be_written(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", WAVE, RATE)
    assert np.array_equal(audio.read(tmp_path / "a.wav")[0], WAVE[None])


class Socket(io.BytesIO):
    """What can be read once and in order."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")

    tell = seek


BYTES: dict[str, Callable[[bytes], object]] = {
    "bytearray": bytearray,
    "memoryview": memoryview,
    "array": lambda data: np.frombuffer(data, np.uint8),
    "every second byte": lambda data: memoryview(np.repeat(np.frombuffer(data, np.uint8), 2))[::2],
    "file": io.BytesIO,
    "socket": Socket,
}


@pytest.mark.parametrize("name", BYTES)
def test_what_holds_the_same_bytes_is_decoded(model: AudioCodec, right: bytes, name: str) -> None:
    expected, _ = model.decompress(right)
    assert np.array_equal(model.decompress(BYTES[name](right))[0], expected)


@pytest.mark.parametrize("value", [str(RDC), RDC, None, 7, io.StringIO("text")])
def test_what_is_no_bytes_is_told_what_to_be(model: AudioCodec, value) -> None:
    with pytest.raises(UserError, match="pass"):
        model.decompress(value)


class DefaultType(AbstractContextManager):
    def __enter__(self) -> None:
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(torch.float32)


CONTEXTS: dict[str, Callable[[], AbstractContextManager]] = {
    "none": nullcontext,
    "default dtype": DefaultType,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference": torch.inference_mode,
    "grad": torch.enable_grad,
    "device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_contexts_change_nothing(model: AudioCodec, right: bytes, name: str) -> None:
    expected, _ = model.decompress(right)
    with CONTEXTS[name]():
        for one in (model, codec.load(MODEL)):
            assert one.compress(WAVE, RATE) == right
            assert np.array_equal(one.decompress(right)[0], expected)
        before = torch.get_default_dtype()
    assert torch.get_default_dtype() == torch.float32
    assert (before == torch.float64) == (name == "default dtype")


def test_a_used_model_answers_in_a_forked_process(model: AudioCodec) -> None:
    """multiprocessing's default on Linux, and what servers do that load before they fork."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        wave = np.random.default_rng(0).standard_normal((1, RATE * 12)).astype(np.float32) / 10
        right = model.compress(wave, RATE)
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()
        child = context.Process(
            target=lambda: answers.put(model.compress(wave, RATE) == right), daemon=True
        )
        child.start()
        child.join(60)
        alive = child.is_alive()
        child.kill()
    finally:
        torch.set_num_threads(threads)
    assert not alive
    assert answers.get()
