"""Prepared audio as training segments."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import audio
from codec.chunks import grouped
from pipeline.corpora import manifest

BALANCE_DB = 6.0


class Segments:
    """Random segments of a prepared split, at the codec's rate and number of channels.

    All audio lies in memory as one 16-bit array (an hour at 24 kHz takes 173 MB). A clip is drawn
    in proportion to its length and padded with zeros where it is shorter than a segment; each
    segment gets a random gain, because a codec must not depend on level. Where a codec has more
    channels than a clip, the clip's last one is repeated, and each channel gets some gain of its
    own, because a codec must not depend on balance either.
    """

    def __init__(
        self, split: Path, sample_rate: int, channels: int, samples: int, seed: list[int]
    ) -> None:
        parts: list[NDArray[np.int16]] = []
        for clip in manifest.read(split):
            waveform, rate = audio.read(split / clip.file)
            resampled = torch.from_numpy(audio.resample(waveform, rate, sample_rate))
            for group in grouped(resampled, channels):
                part = audio.to_int16(group.numpy())
                missing = samples - part.shape[-1]
                parts.append(np.pad(part, ((0, 0), (0, missing))) if missing > 0 else part)
        self.channels, self.samples = channels, samples
        self.audio = np.concatenate(parts, axis=-1)
        lengths = [part.shape[-1] for part in parts]
        # Where a segment may start: anywhere but in the last `samples - 1` samples of a clip.
        self.first = np.cumsum(lengths) - lengths
        self.room = np.cumsum([length - samples + 1 for length in lengths])
        self.rng = np.random.default_rng(seed)

    def batch(self, size: int, gain_db: tuple[float, float] = (-12.0, 3.0)) -> Tensor:
        """(size, channels, samples) float32; gains are uniform in dB."""
        drawn = self.rng.integers(self.room[-1], size=size)
        clip = np.searchsorted(self.room, drawn, side="right")
        start = self.first[clip] + drawn - np.where(clip > 0, self.room[clip - 1], 0)
        waves = np.stack([self.audio[:, at : at + self.samples] for at in start])
        decibels = self.rng.uniform(*gain_db, size=(size, 1, 1))
        if self.channels > 1:
            decibels = decibels + self.rng.uniform(-BALANCE_DB, 0, size=(size, self.channels, 1))
        gain = (10 ** (decibels / 20) / 32768).astype(np.float32)
        return torch.from_numpy(waves * gain).clamp(-1, 1)
