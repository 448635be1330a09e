"""Reconstruction losses."""

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
            phase.append((weight * (1 - cosine)).sum() / weight.sum().clamp(min=1e-3))
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
