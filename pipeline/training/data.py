"""Prepared audio as training segments."""

from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import audio
from codec.coding.chunks import grouped
from pipeline.corpora import manifest
from pipeline.params import Augment

BALANCE_DB = 6.0
SPEEDS = (0.8, 1.5)
BELOW_DB = (-15.0, 0.0)
KNOTS, KNOT_DB = 6, 6.0
CUTOFF_HZ = (3_000.0, 11_000.0)


class Segments:
    """Random segments of a prepared split, at the codec's rate and number of channels.

    All audio lies in memory as one 16-bit array (an hour at 24 kHz takes 173 MB). A clip is drawn
    in proportion to its length and padded with zeros where it is shorter than a segment; each
    segment gets a random gain, because a codec must not depend on level. Where a codec has more
    channels than a clip, the clip's last one is repeated, and each channel gets some gain of its
    own, because a codec must not depend on balance either.
    """

    def __init__(
        self,
        split: Path,
        sample_rate: int,
        channels: int,
        samples: int,
        seed: list[int],
        augment: Augment | None = None,
    ) -> None:
        parts: list[NDArray[np.int16]] = []
        self.files: list[str] = []
        for clip in manifest.read(split):
            waveform, rate = audio.read(split / clip.file)
            resampled = torch.from_numpy(audio.resample(waveform, rate, sample_rate))
            for group in grouped(resampled, channels):
                part = audio.to_int16(group.numpy())
                self.files.append(clip.file)
                missing = samples - part.shape[-1]
                parts.append(np.pad(part, ((0, 0), (0, missing))) if missing > 0 else part)
        self.sample_rate, self.channels, self.samples = sample_rate, channels, samples
        self.audio = np.concatenate(parts, axis=-1)
        lengths = [part.shape[-1] for part in parts]
        self.ends = np.cumsum(lengths)
        # Where a segment may start: anywhere but in the last `samples - 1` samples of a clip.
        self.first = self.ends - lengths
        self.room = np.cumsum([length - samples + 1 for length in lengths])
        self.rng = np.random.default_rng(seed)
        self.augment = augment or Augment(mix=0.0, filter=0.0, resample=0.0)
        self.last: NDArray[np.int64] = np.empty(0, np.int64)

    def batch(
        self, size: int, gain_db: tuple[float, float] = (-12.0, 3.0), part: slice = slice(None)
    ) -> Tensor:
        """(size, channels, samples) float32; gains are uniform in dB.

        Of a batch that several processes share, each builds its ``part``: what is drawn does not
        depend on it.
        """
        drawn = self.last = self.rng.integers(self.room[-1], size=size)
        decibels = self.rng.uniform(*gain_db, size=(size, 1, 1))
        if self.channels > 1:
            decibels = decibels + self.rng.uniform(-BALANCE_DB, 0, size=(size, self.channels, 1))
        seeds = self.rng.integers(2**63, size=size)
        gain = (10 ** (decibels / 20) / 32768).astype(np.float32)
        chosen = range(size)[part]
        waves = [self._segment(drawn[one], np.random.default_rng(seeds[one])) for one in chosen]
        return torch.from_numpy(np.stack(waves) * gain[part]).clamp(-1, 1)

    def drawn(self) -> list[str]:
        """The files that the last batch came from."""
        return [self.files[clip] for clip in np.searchsorted(self.room, self.last, side="right")]

    def _segment(self, drawn: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(channels, samples) from one place, and whatever ``augment`` does to it."""
        chances = rng.random(3)
        resampled = chances[0] < self.augment.resample
        wave = self._cut(drawn, rng.uniform(*SPEEDS) if resampled else 1.0)
        if chances[1] < self.augment.mix:
            other = self._cut(int(rng.integers(self.room[-1])), 1.0)
            wave = wave + other * np.float32(10 ** (rng.uniform(*BELOW_DB) / 20))
        if chances[2] < self.augment.filter:
            wave = self._filtered(wave, rng)
        return wave

    def _cut(self, drawn: int, speed: float) -> NDArray[np.float32]:
        """The segment that begins at the ``drawn``-th possible place, played at ``speed``.

        Faster, audio that came at a low rate fills the highest bands too; so the codec does not
        learn that speech has none.
        """
        clip = int(np.searchsorted(self.room, drawn, side="right"))
        start = self.first[clip] + drawn - (self.room[clip - 1] if clip else 0)
        count = round(self.samples * speed)
        wave = self.audio[:, start : min(start + count, self.ends[clip])].astype(np.float32)
        if speed == 1.0:
            return wave
        wave = np.pad(wave, ((0, 0), (0, count - wave.shape[-1])))
        heard = soxr.resample(wave.T, count, self.samples).T[:, : self.samples]
        return np.pad(heard, ((0, 0), (0, self.samples - heard.shape[-1])))

    def _filtered(self, wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Through a smooth random equalizer, or, as often, a low-pass: rooms and microphones."""
        hertz = np.fft.rfftfreq(self.samples, 1 / self.sample_rate)
        if rng.random() < 0.5:
            cutoff = np.exp(rng.uniform(*np.log(CUTOFF_HZ)))
            gain = 1 / np.sqrt(1 + (hertz / cutoff) ** 16)
        else:
            knots = np.geomspace(50, self.sample_rate / 2, KNOTS)
            decibels = np.interp(hertz, knots, rng.uniform(-KNOT_DB, KNOT_DB, KNOTS))
            gain = 10 ** (decibels / 20)
        return np.fft.irfft(np.fft.rfft(wave) * gain, self.samples).astype(np.float32)
