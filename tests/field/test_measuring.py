"""Measurements at their limits: a reason, never a flattering number, never the end of a run."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.errors import UserError
from pipeline.metrics import Unscorable, installed, measure, pesq, scoring
from pipeline.metrics.delay import delay_ms

RATE = 16_000


@pytest.mark.parametrize("samples", [1, 2, 10, 15, 16, 17, 31, 32, 40, 200])
def test_clips_under_a_millisecond_have_a_delay_or_none(samples: int) -> None:
    wave = (0.3 * np.sin(np.arange(samples) + 0.5)).astype(np.float32)[None]
    noise = np.random.default_rng(0).standard_normal((1, samples)).astype(np.float32)
    for other in (wave, noise, -wave, np.zeros_like(wave)):
        found = delay_ms(reference=wave, degraded=other, sample_rate=RATE)
        assert found is None or abs(found) <= 1000 * samples / RATE
    assert delay_ms(reference=wave, degraded=wave, sample_rate=RATE) in (0, None)


def test_nothing_is_no_signal_of_0_db() -> None:
    wave = np.sin(np.arange(RATE) / 9).astype(np.float32)[None]
    with pytest.raises(Unscorable, match="silent degraded"):
        measure(installed()["si_sdr"], reference=wave, degraded=0 * wave, sample_rate=RATE)


@pytest.mark.parametrize("name", sorted(installed()))
@pytest.mark.parametrize("samples", [1, 16, 1600])
def test_samples_that_are_no_numbers_and_clips_of_nearly_none(name: str, samples: int) -> None:
    wave = (0.3 * np.sin(np.arange(samples) + 0.5)).astype(np.float32)[None]
    with pytest.raises(Unscorable, match="no numbers"):
        measure(installed()[name], reference=wave, degraded=wave * np.nan, sample_rate=RATE)
    if not installed()[name].any_length:
        with pytest.raises(Unscorable, match="too short"):
            measure(installed()[name], reference=wave, degraded=wave, sample_rate=RATE)


def speech(utterances: int) -> np.ndarray:
    """Syllables and pauses of 0.4 s each."""
    time = np.arange(round(RATE * 0.4)) / RATE
    parts = []
    for number in range(utterances):
        pitch = 120 + 40 * np.sin(number)
        tones = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 30))
        parts += [0.1 * tones * np.hanning(len(time)), 0 * time]
    return np.concatenate(parts)[None].astype(np.float32)


def test_pesq_of_more_utterances_than_it_has_room_for_is_a_reason() -> None:
    """Its C code ends the process: at 100 utterances surely, at 30 of them not at all."""
    noise = np.random.default_rng(0).standard_normal
    for utterances in (30, 100):
        reference = speech(utterances)
        degraded = reference + (0.002 * noise(reference.shape)).astype(np.float32)
        pair = {"reference": reference, "degraded": degraded}
        if utterances == 30:
            assert 1 < measure(installed()["pesq_wb"], **pair, sample_rate=RATE) < 4.65
        else:
            with pytest.raises(Unscorable, match="more utterances in 80 s"):
                measure(installed()["pesq_wb"], **pair, sample_rate=RATE)


def test_pesq_s_own_reasons_come_back_from_its_process() -> None:
    nothing = np.zeros(20 * RATE)
    with pytest.raises(Unscorable, match="no utterance"):
        pesq.wide_band(reference=nothing, degraded=nothing + 0.1, sample_rate=RATE)


@pytest.mark.parametrize("which", ["reference", "degraded"])
def test_a_sample_that_is_not_a_number_is_named(tmp_path: Path, which: str) -> None:
    wave = speech(3)[0]
    soundfile.write(tmp_path / "good.wav", wave, RATE, "FLOAT")
    wave[9_000] = np.nan
    soundfile.write(tmp_path / "bad.wav", wave, RATE, "FLOAT")
    pair = [tmp_path / "bad.wav", tmp_path / "good.wav"]
    with pytest.raises(UserError, match=r"bad\.wav: sample 9000 is NaN"):
        scoring.score_files(*(pair if which == "reference" else pair[::-1]), "speech")
