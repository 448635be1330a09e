"""The fixed transform at the codec's root: a lapped transform of mid and side, and a power law."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.nn.layers import overlap_add


class MDCT(nn.Module):
    """Modified discrete cosine transform with a sine window of two hops; orthonormal.

    ``analyse`` maps (batch, channels, frames · hop) to (batch, channels, bins, frames), and
    ``synthesize`` maps that back; frame m is centred on sample (m + 1/2) · hop, and bin k on
    (k + 1/2) · sample_rate / (2 · hop) Hz. With all ``hop`` bins every sample that two frames cover
    comes back exactly: the first and the last half hop are covered by one alone. Source: Princen,
    Johnson and Bradley, "Subband/transform coding using filter bank designs based on time domain
    aliasing cancellation", 1987.
    """

    window: Tensor
    before: Tensor
    after: Tensor

    def __init__(self, hop: int, bins: int) -> None:
        super().__init__()
        self.hop, self.bins = hop, bins
        sample = torch.arange(2 * hop, dtype=torch.float64)
        window = torch.sin(math.pi * (sample + 0.5) / (2 * hop)) * math.sqrt(2 / hop)
        frequency = torch.arange(bins, dtype=torch.float64) + 0.5
        # cos(pi/N (n + n0)(k + 1/2)) is the real part of before[n] · after[k] · exp(-2i pi nk/2N).
        self.register_buffer("window", window.float(), persistent=False)
        turns = torch.polar(torch.ones_like(sample), -math.pi / (2 * hop) * sample)
        self.register_buffer("before", turns.to(torch.complex64), persistent=False)
        middle = (1 + hop) / 2
        turns = torch.polar(torch.ones_like(frequency), -math.pi / hop * middle * frequency)
        self.register_buffer("after", turns.to(torch.complex64), persistent=False)

    def analyse(self, waveform: Tensor) -> Tensor:
        frames = F.pad(waveform, (self.hop // 2, self.hop // 2)).unfold(-1, 2 * self.hop, self.hop)
        spectrum = torch.fft.fft(frames * self.window * self.before)[..., : self.bins]
        return (spectrum * self.after).real.transpose(2, 3)

    def synthesize(self, coefficients: Tensor) -> Tensor:
        spectrum = coefficients.transpose(2, 3) * self.after.conj()
        frames = torch.fft.ifft(spectrum, n=2 * self.hop, norm="forward") * self.before.conj()
        return overlap_add(frames.real * self.window, self.hop)


class ChannelRotation(nn.Module):
    """Audio channels to their mean and their differences, orthonormally, and back.

    For two channels these are mid and side. Identical channels leave all but the first one zero.
    It is the discrete cosine transform over channels. Shapes: (batch, channels, samples) to the
    same.
    """

    matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        place = torch.arange(channels, dtype=torch.float64)
        matrix = torch.cos(math.pi / channels * (place + 0.5) * place[:, None])
        matrix *= math.sqrt(2 / channels)
        matrix[0] /= math.sqrt(2)
        self.register_buffer("matrix", matrix.float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform if len(self.matrix) == 1 else self.matrix @ waveform

    def inverse(self, rotated: Tensor) -> Tensor:
        return rotated if len(self.matrix) == 1 else self.matrix.T @ rotated


class PowerLaw(nn.Module):
    """x to sign(x)·|x|^power, and symbols of such values back.

    Small differences of loud coefficients are heard less than those of quiet ones: after the power
    law, one step size serves both, as in MP3 and AAC (ISO/IEC 13818-7, section 10).
    """

    TINY = 1e-4
    """Around zero both are straight, with slopes that training can bear. The inverse's is next to
    none: where a coefficient is zero, a logarithmic distance asks for more of it with a gradient
    that grows without bound, and what is added is never as little as was asked for."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square() + self.TINY**2) ** ((self.power - 1) / 2)

    def inverse(self, y: Tensor) -> Tensor:
        """Of values in units of a quantizer's step."""
        return y * (y.square() + self.TINY**2) ** ((1 / self.power - 1) / 2)
