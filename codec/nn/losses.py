"""Reconstruction losses."""

import math

import torch
from torch import Tensor, nn


class MultiScaleSTFTLoss(nn.Module):
    """Distance of two waveforms in short-time Fourier transforms of several sizes.

    At each scale two terms, both free of the signal's own level:

    - log-magnitude: the mean of |ln |X| − ln |Y||, which hears quiet partials as the ear does;
    - magnitude-weighted phase: Σ|X|·(1 − cos(∠X − ∠Y)) / Σ|X|, between 0 and 2; where the
      spectrum is loud the phase must fit, where it is silent phase has no meaning and no weight.

    Scales follow the codec's description (512, 1024, 2048, and more); Hann windows, hop a quarter.
    Source of the multi-scale log distance: Yamamoto et al., "Parallel WaveGAN", 2020, section 2.2.
    """

    def __init__(self, scales: list[int]) -> None:
        super().__init__()
        self.scales = scales
        for size in scales:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, reference: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Two (batch, channels, samples) waveforms to mean log-magnitude and phase distances."""
        magnitude, phase = [], []
        for size in self.scales:
            x, y = self._transform(reference, size), self._transform(decoded, size)
            # The floor is some 80 dB under a full-scale sine; it also bounds the gradient.
            x_abs = torch.sqrt(x.real.square() + x.imag.square() + 1e-6)
            y_abs = torch.sqrt(y.real.square() + y.imag.square() + 1e-6)
            magnitude.append((torch.log(x_abs) - torch.log(y_abs)).abs().mean())
            cosine = (x.real * y.real + x.imag * y.imag) / (x_abs * y_abs)
            weight = x.abs()
            # Signal by signal: a batch's loss is the mean of its parts' losses, however it is cut.
            loud = weight.sum(dim=(1, 2)).clamp(min=1e-3)
            phase.append(((weight * (1 - cosine)).sum(dim=(1, 2)) / loud).mean())
        return torch.stack(magnitude).mean(), torch.stack(phase).mean()

    def _transform(self, waveform: Tensor, size: int) -> Tensor:
        window = self.get_buffer(f"window_{size}")
        return torch.stft(
            waveform.flatten(0, 1),
            size,
            size // 4,
            window=window,
            return_complex=True,
            normalized=True,
        )


class MultiScaleMelLoss(nn.Module):
    """Mean |log10 M(x) − log10 M(y)| of mel spectra of several window sizes.

    Mel bands weigh low frequencies as the ear does, where a linear spectrum gives most of its bins
    to the highest octave. Small windows see time and get few bands, large ones many. Source: Kumar
    et al., "High-fidelity audio compression with improved RVQGAN", 2023, section 3.4.
    """

    WINDOWS = (64, 128, 256, 512, 1024, 2048)
    BANDS = (10, 20, 40, 80, 160, 256)
    FLOOR = 1e-5

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        for size, bands in zip(self.WINDOWS, self.BANDS, strict=True):
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
            self.register_buffer(
                f"mel_{size}", mel_filters(sample_rate, size, bands), persistent=False
            )

    def forward(self, reference: Tensor, decoded: Tensor) -> Tensor:
        """Two (batch, channels, samples) waveforms to their mean distance."""
        losses = []
        for size in self.WINDOWS:
            x, y = self._log_mel(reference, size), self._log_mel(decoded, size)
            losses.append((x - y).abs().mean())
        return torch.stack(losses).mean()

    def _log_mel(self, waveform: Tensor, size: int) -> Tensor:
        spectrum = torch.stft(
            waveform.flatten(0, 1).float(),
            size,
            size // 4,
            window=self.get_buffer(f"window_{size}"),
            return_complex=True,
        )
        magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square() + self.FLOOR**2)
        return torch.log10(self.get_buffer(f"mel_{size}") @ magnitude + self.FLOOR)


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
