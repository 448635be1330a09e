"""Prepared audio as training segments, changed where they are trained on: on the CPU or a GPU."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import audio
from codec.coding.chunks import grouped
from pipeline.corpora import manifest
from pipeline.params import Augment

BALANCE_DB = 6.0
PARTS = 50
SPEEDS_IN_PARTS = (40, 75)
"""What is played in the time of a segment, in fiftieths of its length: 0.8 to 1.5 times the speed,
and lengths whose Fourier transforms are fast."""
BELOW_DB = (-15.0, 0.0)
KNOTS, KNOT_DB = 6, 6.0
CUTOFF_HZ = (3_000.0, 11_000.0)


@dataclass(frozen=True)
class Recording:
    """One (channels, samples) 16-bit recording, and the file that it is from."""

    file: str
    samples: NDArray[np.int16]


def recordings(split: Path, sample_rate: int, channels: int) -> Iterable[Recording]:
    """The clips of a prepared split, at a rate, in groups of so many channels.

    Where a codec has more channels than a clip, the clip's last one is repeated.
    """
    for clip in manifest.read(split):
        waveform, rate = audio.read(split / clip.file)
        resampled = torch.from_numpy(audio.resample(waveform, rate, sample_rate))
        for group in grouped(resampled, channels):
            yield Recording(clip.file, audio.to_int16(group.numpy()))


class Segments:
    """Random segments of recordings, at the codec's rate and number of channels.

    All audio lies in the memory of ``device`` as one 16-bit array (an hour at 24 kHz takes 173 MB).
    A recording is drawn in proportion to its length and padded with zeros where it is shorter than
    a segment; each segment gets a random gain, because a codec must not depend on level. Half of
    the segments of several channels get a gain for each, too, because a codec must not depend on
    balance either.
    """

    def __init__(
        self,
        found: Iterable[Recording],
        sample_rate: int,
        channels: int,
        samples: int,
        seed: list[int],
        augment: Augment | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        kept = list(found)
        self.files = [one.file for one in kept]
        parts = [
            np.pad(one.samples, ((0, 0), (0, max(0, samples - one.samples.shape[-1]))))
            for one in kept
        ]
        self.sample_rate, self.channels, self.samples = sample_rate, channels, samples
        self.audio = torch.from_numpy(np.concatenate(parts, axis=-1)).to(device)
        lengths = np.array([part.shape[-1] for part in parts])
        self.ends = np.cumsum(lengths)
        # Where a segment may start: anywhere but in the last `samples - 1` samples of a recording.
        self.first = self.ends - lengths
        self.room = np.cumsum(lengths - samples + 1)
        at = np.log(np.geomspace(50, sample_rate / 2, KNOTS))
        hertz = np.log(np.maximum(np.fft.rfftfreq(samples, 1 / sample_rate), 1.0))
        self.interpolation = self._here(
            np.array([np.interp(hertz, at, row) for row in np.eye(KNOTS)])
        )
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
        rng, augment = self.rng, self.augment
        drawn = self.last = rng.integers(self.room[-1], size=size)
        others = rng.integers(self.room[-1], size=size)
        count = self.samples * rng.integers(*SPEEDS_IN_PARTS, endpoint=True) // PARTS
        shares = np.array([[augment.resample], [augment.mix], [augment.filter]])
        resampled, mixed, filtered = (
            np.flatnonzero(one[part]) for one in rng.random((3, size)) < shares
        )
        below = rng.uniform(*BELOW_DB, size=(size, 1, 1))
        cutoff = rng.uniform(math.log(CUTOFF_HZ[0]), math.log(CUTOFF_HZ[1]), size=(size, 1))
        knots = rng.uniform(-KNOT_DB, KNOT_DB, size=(size, KNOTS))
        low_pass = rng.random((size, 1)) < 0.5
        decibels = rng.uniform(*gain_db, size=(size, 1, 1))
        if self.channels > 1:
            balance = rng.uniform(-BALANCE_DB, 0, size=(size, self.channels, 1))
            decibels = decibels + balance * (rng.random((size, 1, 1)) < 0.5)

        waves = self._cut(drawn[part], self.samples)
        if len(resampled):
            faster = self._cut(drawn[part][resampled], int(count))
            waves[resampled] = spectral_resample(faster, self.samples)
        if len(mixed):
            other = self._cut(others[part][mixed], self.samples)
            waves[mixed] += other * self._here(10 ** (below[part][mixed] / 20))
        if len(filtered):
            responses = self._responses(
                cutoff[part][filtered], knots[part][filtered], low_pass[part][filtered]
            )
            spectrum = torch.fft.rfft(waves[filtered]) * responses[:, None]
            waves[filtered] = torch.fft.irfft(spectrum, self.samples)
        return (waves * self._here(10 ** (decibels[part] / 20) / 32768)).clamp(-1, 1)

    def drawn(self) -> list[str]:
        """The files that the last batch came from."""
        return [self.files[clip] for clip in np.searchsorted(self.room, self.last, side="right")]

    def _cut(self, drawn: NDArray[np.int64], count: int) -> Tensor:
        """(n, channels, count) samples from the possible places ``drawn`` on; zeros past an end."""
        clip = np.searchsorted(self.room, drawn, side="right")
        start = self.first[clip] + drawn - np.where(clip > 0, self.room[clip - 1], 0)
        device = self.audio.device
        place = torch.from_numpy(start).to(device)[:, None] + torch.arange(count, device=device)
        inside = place < torch.from_numpy(self.ends[clip]).to(device)[:, None]
        place = place.clamp(max=self.audio.shape[-1] - 1)
        return (self.audio[:, place] * inside).transpose(0, 1).float()

    def _responses(
        self, cutoff: NDArray[np.float64], knots: NDArray[np.float64], low_pass: NDArray[np.bool_]
    ) -> Tensor:
        """(n, bins): low-passes or smooth equalizers, like rooms and microphones.

        ``cutoff`` (n, 1) is ln Hz, ``knots`` (n, KNOTS) are dB at frequencies evenly spaced in ln
        Hz, ``low_pass`` (n, 1) says which of the two an item gets.
        """
        hertz = self._here(np.fft.rfftfreq(self.samples, 1 / self.sample_rate))
        falling = torch.rsqrt(1 + (hertz / self._here(cutoff).exp()) ** 16)
        equalizer = 10 ** (self._here(knots) @ self.interpolation / 20)
        return torch.where(torch.from_numpy(low_pass).to(hertz.device), falling, equalizer)

    def _here(self, values: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.audio.device)


def spectral_resample(waves: Tensor, count: int) -> Tensor:
    """(…, samples) to ``count`` samples of the same duration, by cutting or padding the spectrum.

    Faster, audio that came at a low rate fills the highest bands too; so the codec does not learn
    that speech has none.
    """
    before = waves.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(waves), count) * (count / before)
