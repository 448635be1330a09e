"""The fixed transform at the codec's root: a lapped transform of mid and side, and a power law."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.nn.layers import by_pieces, overlap_add


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
    turns: Tensor

    def __init__(self, hop: int, bins: int) -> None:
        super().__init__()
        self.hop, self.bins = hop, bins
        sample = torch.arange(2 * hop, dtype=torch.float64)
        window = torch.sin(math.pi * (sample + 0.5) / (2 * hop))
        self.register_buffer("window", window.float(), persistent=False)
        # Of the cosine transform below; its scale goes in by halves.
        angle = -math.pi / hop * (torch.arange(hop // 2, dtype=torch.float64) + 0.125)
        turns = torch.polar(torch.full_like(angle, (2 / hop) ** 0.25), angle)
        self.register_buffer("turns", turns.to(torch.complex64), persistent=False)

    def analyse(self, waveform: Tensor) -> Tensor:
        frames = F.pad(waveform, (self.hop // 2, self.hop // 2)).unfold(-1, 2 * self.hop, self.hop)
        return by_pieces(self._coefficients, frames).transpose(2, 3)

    def synthesize(self, coefficients: Tensor) -> Tensor:
        return overlap_add(by_pieces(self._frames, coefficients.transpose(2, 3)), self.hop)

    def _coefficients(self, frames: Tensor) -> Tensor:
        """(…, 2 · hop) samples to (…, bins): aliased to half of their number, then transformed."""
        a, b, c, d = (frames * self.window).chunk(4, dim=-1)
        aliased = torch.cat((-c.flip(-1) - d, a - b.flip(-1)), dim=-1)
        return self._cosines(aliased)[..., : self.bins]

    def _frames(self, coefficients: Tensor) -> Tensor:
        """The transpose of ``_coefficients``."""
        aliased = self._cosines(F.pad(coefficients, (0, self.hop - self.bins)))
        first, second = aliased.chunk(2, dim=-1)
        frames = torch.cat((second, -second.flip(-1), -first.flip(-1), -first), dim=-1)
        return frames * self.window

    def _cosines(self, x: Tensor) -> Tensor:
        """The orthonormal discrete cosine transform of type IV of (…, hop), its own inverse.

        By a Fourier transform of half as many complex values. Source: Malvar, "Signal Processing
        with Lapped Transforms", 1992, chapter 5.
        """
        even, odd = x[..., ::2], x.flip(-1)[..., ::2]
        turned = torch.fft.fft(torch.complex(even, odd) * self.turns) * self.turns
        return torch.stack((turned.real, -turned.imag.flip(-1)), dim=-1).flatten(-2)


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
