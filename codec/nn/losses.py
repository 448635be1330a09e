"""Reconstruction losses."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.nn.layers import real_fft


class SpectralDistances(nn.Module):
    """Distances of two waveforms in short-time Fourier transforms of several sizes.

    Three terms share the transforms (Hann windows, hop a quarter):

    - log-magnitude, at ``scales``: the mean of |ln |X| − ln |Y||, which hears quiet partials as the
      ear does (Yamamoto et al., "Parallel WaveGAN", 2020, section 2.2);
    - magnitude-weighted phase, at ``scales``: Σ|X|·(1 − cos(∠X − ∠Y)) / Σ|X|, between 0 and 2;
      where the spectrum is loud the phase must fit, where it is silent phase has no meaning and no
      weight;
    - mel, at windows of 2.7 to 85 ms: the mean of |log10 M(x) − log10 M(y)|. Mel bands weigh low
      frequencies as the ear does, where a linear spectrum gives most of its bins to the highest
      octave; small windows see time and get few bands, large ones many (Kumar et al.,
      "High-fidelity audio compression with improved RVQGAN", 2023, section 3.4).
    """

    MEL_BANDS: ClassVar[dict[int, int]] = {64: 10, 128: 20, 256: 40, 512: 80, 1024: 160, 2048: 256}
    """Bands by window size at 24 kHz; at other rates windows of the same duration are taken."""
    FLOOR, MEL_FLOOR = 1e-3, 3e-4
    """Magnitudes are not told apart below these times √size: at 512 samples, 75 and 85 dB under a
    full-scale sine. Without them a codec learns silence and dither before all else."""
    MISSED = 0.15
    """What is this much of what it should be, or less, counts as missed: 16 dB too quiet at most.
    The logarithm alone would ask for what is missing with a gradient without bound, and an encoder
    that follows it drives all latents out of zero."""

    def __init__(self, scales: Sequence[int], sample_rate: int, terms: Sequence[str]) -> None:
        super().__init__()
        self.scales = tuple(scales) if {"log_magnitude", "phase"} & set(terms) else ()
        factor = window_factor(sample_rate)
        self.mel_sizes = tuple(factor * size for size in self.MEL_BANDS) if "mel" in terms else ()
        for size, bands in zip(self.mel_sizes, self.MEL_BANDS.values(), strict=False):
            filters = mel_filters(sample_rate, size, bands)
            self.register_buffer(f"mel_{size}", filters, persistent=False)
        for size in self.sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    @property
    def sizes(self) -> list[int]:
        """All window sizes, in samples, in rising order."""
        return sorted({*self.scales, *self.mel_sizes})

    def forward(
        self, reference: Tensor, decoded: Tensor, drawn: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Two (batch, channels, samples) waveforms to the mean distance of each term.

        ``drawn`` are the sizes to look at, all by default. A term none of whose sizes is drawn is
        left out.
        """
        found: dict[str, list[Tensor]] = {}
        for size in self.sizes if drawn is None else drawn:
            spectra = self._transform(torch.cat((reference, decoded)).flatten(0, 1).float(), size)
            power = spectra.real.square() + spectra.imag.square()
            if size in self.scales:
                for name, term in self._by_bin(spectra, power, size, len(reference)).items():
                    found.setdefault(name, []).append(term)
            if size in self.mel_sizes:
                magnitude = torch.sqrt(power + self.MEL_FLOOR**2 * size)
                x, y = (self.get_buffer(f"mel_{size}") @ magnitude).chunk(2)
                x, y = torch.log10(x * (1 + self.MISSED)), torch.log10(y + x * self.MISSED)
                found.setdefault("mel", []).append((x - y).abs().mean())
        return {name: torch.stack(terms).mean() for name, terms in found.items()}

    def draw(self, rng: np.random.Generator) -> list[int]:
        """Half of the sizes, one of each pair of neighbours: half the work.

        Every size is drawn as often as every other one.
        """
        sizes = self.sizes
        pairs = [sizes[i : i + 2] for i in range(len(sizes) % 2, len(sizes), 2)]
        chosen = rng.random(len(pairs)) < 0.5
        return sizes[: len(sizes) % 2] + [
            pair[int(first)] for pair, first in zip(pairs, chosen, strict=True)
        ]

    def _by_bin(self, spectra: Tensor, power: Tensor, size: int, batch: int) -> dict[str, Tensor]:
        x, y = spectra.chunk(2)
        x_abs, y_abs = torch.sqrt(power + self.FLOOR**2 * size).chunk(2)
        cosine = (x.real * y.real + x.imag * y.imag) / (x_abs * y_abs)
        weight = torch.sqrt(power.chunk(2)[0])
        # Signal by signal: a batch's loss is the mean of its parts' losses, however it is cut.
        loud = weight.sum(dim=(1, 2)).clamp(min=1e-3 * math.sqrt(size))
        missed = self.MISSED * x_abs
        return {
            "log_magnitude": (torch.log(x_abs + missed) - torch.log(y_abs + missed)).abs().mean(),
            "phase": ((weight * (1 - cosine)).sum(dim=(1, 2)) / loud).mean(),
        }

    def _transform(self, waveforms: Tensor, size: int) -> Tensor:
        """(batch, samples) to (batch, bins, frames); both ends are mirrored."""
        padded = F.pad(waveforms[:, None], (size // 2, size // 2), mode="reflect")[:, 0]
        frames = padded.unfold(-1, size, size // 4) * self.get_buffer(f"window_{size}")
        return real_fft(frames).transpose(1, 2)


def window_factor(sample_rate: int) -> int:
    """By how much windows are longer than at 24 kHz, to be of about the same duration."""
    return int(2 ** max(0, round(math.log2(sample_rate / 24_000))))


def mel_filters(sample_rate: int, size: int, bands: int) -> Tensor:
    """(bands, size / 2 + 1) triangles of sum 1 that overlap by half, evenly spaced in mel.

    A band narrower than a bin takes the bin that it lies in, so that no band is empty. Source of
    the scale: O'Shaughnessy, "Speech communication", 1987, page 150.
    """
    bins = size // 2 + 1
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    hertz = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (hertz - low) / (centre - low), (high - hertz) / (high - centre)
    filters = torch.minimum(rising, falling).clamp(min=0)
    nearest = torch.zeros_like(filters)
    nearest[torch.arange(bands), (edges[1:-1] / (sample_rate / 2) * (bins - 1)).round().long()] = 1
    filters = torch.where(filters.sum(dim=1, keepdim=True) > 0, filters, nearest)
    return (filters / filters.sum(dim=1, keepdim=True)).float()
