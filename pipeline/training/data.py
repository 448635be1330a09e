"""Prepared audio as training segments."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import audio
from pipeline.corpora import manifest


class Segments:
    """Random segments of a prepared split, at the codec's rate, one channel at a time.

    All audio lies in memory as one 16-bit array (an hour at 24 kHz takes 173 MB). A clip is drawn
    in proportion to its length and padded with zeros where it is shorter than a segment; each
    segment gets a random gain, because a codec must not depend on level.
    """

    def __init__(self, split: Path, sample_rate: int, samples: int, seed: list[int]) -> None:
        parts: list[NDArray[np.int16]] = []
        for clip in manifest.read(split):
            waveform, rate = audio.read(split / clip.file)
            for channel in audio.to_int16(audio.resample(waveform, rate, sample_rate)):
                missing = samples - len(channel)
                parts.append(np.pad(channel, (0, missing)) if missing > 0 else channel)
        self.samples = samples
        self.audio = np.concatenate(parts)
        ends = np.cumsum([len(part) for part in parts])
        # Where a segment may start: anywhere but in the last `samples - 1` samples of a clip.
        self.first = ends - [len(part) for part in parts]
        room = [len(part) - samples + 1 for part in parts]
        self.room = np.cumsum(room)
        self.rng = np.random.default_rng(seed)

    def batch(self, size: int, gain_db: tuple[float, float] = (-12.0, 3.0)) -> Tensor:
        """(size, 1, samples) float32; gains are uniform in dB."""
        drawn = self.rng.integers(self.room[-1], size=size)
        clip = np.searchsorted(self.room, drawn, side="right")
        start = self.first[clip] + drawn - np.where(clip > 0, self.room[clip - 1], 0)
        waves = np.stack([self.audio[at : at + self.samples] for at in start]).astype(np.float32)
        gain = 10 ** (self.rng.uniform(*gain_db, size=(size, 1)) / 20) / 32768
        return torch.from_numpy((waves * gain).astype(np.float32)).clamp(-1, 1).unsqueeze(1)
