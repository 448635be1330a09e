"""Music from physical models and frequency modulation, in chords and rhythm."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

Audio = NDArray[np.float64]
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = ((0, 4, 5, 3), (0, 3, 4, 0), (5, 3, 0, 4), (0, 5, 1, 4), (0, 2, 3, 4), (1, 4, 0, 0))


def piece(rng: Generator, seconds: float, sample_rate: int) -> Audio:
    """(samples,) of one piece: key, tempo, progression and two to four instruments by chance."""
    beat = 60 / rng.uniform(66, 148)
    root = int(rng.integers(38, 50))
    scale = SCALES[str(rng.choice(list(SCALES)))]
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    total = int(seconds * sample_rate)
    mix = np.zeros(total)

    def note(degree: int) -> float:
        """Frequency in Hz of a scale degree above the root."""
        return 440.0 * 2 ** ((root + 12 * (degree // 7) + scale[degree % 7] - 69) / 12)

    def add(sound: Audio, second: float, gain: float) -> None:
        start = int(second * sample_rate)
        sound = sound[: max(0, total - start)]
        mix[start : start + len(sound)] += gain * sound

    lead = (pluck, keys, bow)[int(rng.integers(3))]
    with_drums, with_bass, arpeggio = rng.random(3) < (0.6, 0.7, 0.5)
    brightness = rng.uniform(0.2, 0.9)
    bars = int(np.ceil(seconds / (4 * beat)))
    for bar in range(bars):
        degree = progression[bar % len(progression)]
        chord = [note(degree + 7 + step) for step in (0, 2, 4)]
        at = bar * 4 * beat
        if arpeggio:
            for eighth in range(8):
                tone = chord[int(rng.integers(3))] * (1 + (eighth % 4 == 3))
                sound = lead(rng, tone, beat * 1.5, sample_rate, brightness)
                add(sound, at + eighth * beat / 2, 0.35)
        else:
            for beat_of_chord in (0, 2):
                for tone in chord:
                    sound = lead(rng, tone, beat * 2, sample_rate, brightness)
                    add(sound, at + beat_of_chord * beat + rng.uniform(0, 0.015), 0.3)
        if rng.random() < 0.7:
            for beat_of_melody in range(4):
                tone = note(degree + 14 + int(rng.choice((0, 1, 2, 4))))
                add(keys(rng, tone, beat, sample_rate, 0.6), at + beat_of_melody * beat, 0.25)
        if with_bass:
            for beat_of_bass in (0, 1.5, 2, 3):
                add(bass(rng, note(degree) / 2, beat, sample_rate), at + beat_of_bass * beat, 0.4)
        if with_drums:
            for eighth in range(8):
                second = at + eighth * beat / 2
                add(hat(rng, sample_rate), second, 0.12)
                if eighth in (0, 5):
                    add(kick(rng, sample_rate), second, 0.7)
                if eighth in (2, 6):
                    add(snare(rng, sample_rate), second, 0.35)
    return mix


def pluck(rng: Generator, pitch: float, seconds: float, rate: int, brightness: float) -> Audio:
    """A plucked string (Karplus and Strong, "Digital synthesis of plucked-string timbres", 1983).

    The string is a delay line whose loop averages two samples: one recursive filter.
    """
    period = rate / pitch
    delay = max(2, int(period - 0.5))
    burst = np.zeros(int(seconds * rate))
    burst[:delay] = lfilter([brightness], [1, brightness - 1], rng.uniform(-1, 1, delay))[
        : len(burst)
    ]
    fraction = period - 0.5 - delay
    feedback = np.zeros(delay + 2)
    feedback[0] = 1.0
    loss = 0.998
    feedback[delay] = -loss * (1 - fraction) * 0.5 - loss * 0.25
    feedback[delay + 1] = -loss * fraction * 0.5 - loss * 0.25
    return faded(lfilter([1.0], feedback, burst), rate)


def keys(rng: Generator, pitch: float, seconds: float, rate: int, brightness: float) -> Audio:
    """An electric piano by frequency modulation (Chowning, 1973), its index decaying."""
    time = np.arange(int(seconds * rate)) / rate
    ratio = float(rng.choice((1.0, 2.0, 3.0, 14.0)))
    index = (0.3 + 3 * brightness / ratio) * np.exp(-time * 5)
    carrier = np.sin(2 * np.pi * pitch * time + index * np.sin(2 * np.pi * pitch * ratio * time))
    return faded(carrier * np.exp(-time * rng.uniform(1.5, 4)), rate)


def bow(rng: Generator, pitch: float, seconds: float, rate: int, brightness: float) -> Audio:
    """A bowed or blown tone: harmonics with vibrato, slow attack and a little breath."""
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * pitch * time + rng.uniform(0.5, 3) * np.sin(2 * np.pi * 5.5 * time)
    tone = np.zeros_like(time)
    for harmonic in range(1, int(min(24, 0.45 * rate / pitch)) + 1):
        tone += np.sin(harmonic * phase + rng.uniform(0, 6.28)) * harmonic ** (-2 + brightness)
    breath = lfilter([0.2], [1, -0.8], rng.standard_normal(len(time))) * 0.03
    attack = np.minimum(1, time / 0.08)
    return faded((0.4 * tone + breath) * attack, rate, 0.08)


def bass(rng: Generator, pitch: float, seconds: float, rate: int) -> Audio:
    """A saw wave through a low-pass filter, decaying."""
    time = np.arange(int(seconds * rate)) / rate
    saw = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 16))
    cutoff = butter(2, rng.uniform(300, 900), fs=rate, output="sos")
    return faded(sosfilt(cutoff, saw) * np.exp(-time * 3), rate)


def kick(rng: Generator, rate: int) -> Audio:
    """A sine that falls from some 150 Hz to 45 Hz, with a click."""
    time = np.arange(int(0.25 * rate)) / rate
    phase = 2 * np.pi * (45 * time + rng.uniform(2, 5) * (1 - np.exp(-time * 30)))
    return faded(np.sin(phase) * np.exp(-time * 14), rate)


def snare(rng: Generator, rate: int) -> Audio:
    """Noise over a short tone."""
    time = np.arange(int(0.2 * rate)) / rate
    noise = rng.standard_normal(len(time)) * np.exp(-time * 22) * 0.6
    return faded(noise + np.sin(2 * np.pi * 190 * time) * np.exp(-time * 30), rate)


def hat(rng: Generator, rate: int) -> Audio:
    """High-passed noise, very short or less so."""
    time = np.arange(int(0.12 * rate)) / rate
    high = butter(4, min(6500, 0.4 * rate), "highpass", fs=rate, output="sos")
    noise = sosfilt(high, rng.standard_normal(len(time)))
    return faded(noise * np.exp(-time * rng.choice((25, 60, 90))), rate)


def faded(sound: Audio, rate: int, seconds: float = 0.005) -> Audio:
    """The sound with its end faded out, so that cutting a note makes no click."""
    count = min(len(sound), int(seconds * rate))
    sound[len(sound) - count :] *= np.linspace(1, 0, count)
    return sound
