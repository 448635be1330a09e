"""General sounds: noises, crackle, transients, ambience."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

Audio = NDArray[np.float64]


def scene(rng: Generator, seconds: float, sample_rate: int) -> tuple[str, Audio]:
    """Name and (samples,) of one scene: one kind of sound, or two together."""
    names = list(SOUNDS)
    first = str(rng.choice(names))
    mix = unit(SOUNDS[first](rng, int(seconds * sample_rate), sample_rate))
    if rng.random() < 0.35:
        second = str(rng.choice([name for name in names if name != first]))
        other = unit(SOUNDS[second](rng, len(mix), sample_rate))
        return f"{first}-{second}", mix + 10 ** (rng.uniform(-18, -3) / 20) * other
    return first, mix


def unit(sound: Audio) -> Audio:
    """The sound at a root mean square of one."""
    return np.asarray(sound / max(1e-9, float(np.sqrt(np.mean(sound**2)))))


def coloured(rng: Generator, count: int, slope: float) -> Audio:
    """Noise whose power falls with frequency to the power of ``slope`` (0 white, 1 pink)."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    bins = np.maximum(1, np.arange(len(spectrum)))
    return np.fft.irfft(spectrum * bins ** (-slope / 2), count)


def slow(rng: Generator, count: int, rate: int, hertz: float) -> Audio:
    """A random curve in 0 to 1 that moves about ``hertz`` times a second."""
    points = rng.random(max(4, int(count / rate * hertz) + 4))
    return np.interp(np.linspace(0, len(points) - 1, count), np.arange(len(points)), points)


def wind(rng: Generator, count: int, rate: int) -> Audio:
    """Coloured noise that swells and falls."""
    noise = coloured(rng, count, rng.uniform(0.8, 1.6))
    return noise * (0.15 + slow(rng, count, rate, 1.0) ** 2)


def rain(rng: Generator, count: int, rate: int) -> Audio:
    """Drops, thin or dense, over a hiss."""
    drops = (rng.random(count) < rng.uniform(100, 900) / rate) * rng.exponential(1, count)
    band = butter(2, [rng.uniform(800, 2000), 0.4 * rate], "bandpass", fs=rate, output="sos")
    return np.asarray(sosfilt(band, drops)) + 0.05 * coloured(rng, count, rng.uniform(0, 0.8))


def waves(rng: Generator, count: int, rate: int) -> Audio:
    """Noise in slow swells."""
    time = np.arange(count) / rate
    swell = (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 0.25) * time + rng.uniform(0, 6))) ** 3
    return coloured(rng, count, rng.uniform(0.5, 1.2)) * (0.1 + swell)


def crackle(rng: Generator, count: int, rate: int) -> Audio:
    """Clicks that ring for a moment, as of a fire."""
    clicks = (rng.random(count) < rng.uniform(4, 30) / rate) * rng.standard_normal(count)
    damping = rng.uniform(0.9, 0.985)
    resonance = [1, -2 * damping * np.cos(rng.uniform(0.3, 1.5)), damping**2]
    ring: Audio = lfilter([1], resonance, clicks)
    return ring + 0.02 * coloured(rng, count, 1.2) * float(np.abs(ring).max() + 1e-9)


def knocks(rng: Generator, count: int, rate: int) -> Audio:
    """Struck objects: a few decaying modes each (van den Doel and Pai, 1998)."""
    out = np.zeros(count)
    modes = rng.uniform(150, 5000, 6)
    second = rng.uniform(0, 0.3)
    while second < count / rate:
        start = int(second * rate)
        time = np.arange(min(count - start, int(0.6 * rate))) / rate
        for mode in modes * rng.uniform(0.98, 1.02):
            hit = np.sin(2 * np.pi * mode * time) * np.exp(-time * rng.uniform(8, 50))
            out[start : start + len(time)] += hit * rng.random()
        second += rng.uniform(0.15, 0.9)
    return out


def ticking(rng: Generator, count: int, rate: int) -> Audio:
    """Clicks at a steady interval, every second one softer."""
    out = np.zeros(count)
    click = rng.standard_normal(int(0.012 * rate)) * np.exp(
        -np.arange(int(0.012 * rate)) * 400 / rate
    )
    interval = int(rng.uniform(0.2, 1.0) * rate)
    for index, start in enumerate(range(int(rng.integers(interval)), count - len(click), interval)):
        out[start : start + len(click)] += click * (1.0 if index % 2 else 0.6)
    return out + 2e-4 * rng.standard_normal(count)


def engine(rng: Generator, count: int, rate: int) -> Audio:
    """Many harmonics of a wavering low tone, and noise in its rhythm."""
    speed = rng.uniform(20, 70) * (0.9 + 0.2 * slow(rng, count, rate, 0.5))
    phase = 2 * np.pi * np.cumsum(speed) / rate
    hum = sum(np.sin(k * phase + rng.uniform(0, 6)) * rng.random() / k**0.7 for k in range(1, 30))
    return np.asarray(hum + 0.4 * unit(coloured(rng, count, 1.0)) * (1 + np.sin(phase)))


def birds(rng: Generator, count: int, rate: int) -> Audio:
    """Chirps around one pitch."""
    out = 0.01 * unit(coloured(rng, count, 1.0))
    base = rng.uniform(1800, 5000)
    second = rng.uniform(0, 0.4)
    while second < count / rate:
        start, length = int(second * rate), int(rng.uniform(0.05, 0.25) * rate)
        time = np.linspace(0, 1, min(length, count - start))
        pitch = base * (1 + rng.uniform(-0.3, 0.3) * time + 0.05 * np.sin(40 * time))
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        out[start : start + len(time)] += np.sin(phase) * np.sin(np.pi * time) * rng.uniform(0.3, 1)
        second += rng.uniform(0.08, 0.7)
    return out


def hiss(rng: Generator, count: int, rate: int) -> Audio:
    """Steady noise."""
    return coloured(rng, count, rng.uniform(-0.5, 1.0))


SOUNDS = {
    "wind": wind,
    "rain": rain,
    "waves": waves,
    "crackle": crackle,
    "knocks": knocks,
    "ticking": ticking,
    "engine": engine,
    "birds": birds,
    "hiss": hiss,
}
