"""The layers that encoder and decoder are made of."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIECE_FRAMES = 128
"""So many frames of spectra stay in a processor's cache."""


def by_pieces(function: Callable[..., Tensor], *frames: Tensor) -> Tensor:
    """``function`` of one or several (…, frames, values), which gives (…, frames, other values).

    For what is done to each frame by itself where frames are wide: a few at a time stay in the
    cache from the first step to the last, where a long window would go through memory at each.
    """
    pieces = zip(*(one.split(PIECE_FRAMES, dim=-2) for one in frames), strict=True)
    return torch.cat([function(*piece) for piece in pieces], dim=-2)


class ResidualUnit(nn.Module):
    """x + conv1x1(ELU(conv(ELU(x)))), the unit of waveform codecs.

    Shapes: (batch, width, frames) to the same. Source: Zeghidour et al., "SoundStream", 2021,
    section III-A.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.spread = nn.Conv1d(width, width // 2 or 1, kernel, padding=kernel // 2)
        self.mix = nn.Conv1d(width // 2 or 1, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(F.elu(self.spread(F.elu(x))))


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution in time, then a two-layer network on each frame, then the residual.

    Shapes: (batch, width, frames) to the same. Normalization is over channels of one frame, so a
    frame never depends on how much audio surrounds it. Source: Liu et al., "A ConvNet for the
    2020s", 2022, section 2.6, in one dimension. With ``levels`` of rate, scale and shift after the
    normalization follow the level (Perez et al., "FiLM", 2018).
    """

    def __init__(self, width: int, kernel: int, levels: int = 1, expansion: int = 4) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.film = ByLevel(levels, 2 * width) if levels > 1 else None
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        y = self.norm(self.depthwise(x).transpose(1, 2))
        if self.film is not None:
            scale, shift = self.film(level)[:, None].chunk(2, dim=-1)
            y = y * (1 + scale) + shift
        y = self.scale * self.narrow(F.gelu(self.widen(y)))
        return x + y.transpose(1, 2)


class ConvNeXtBlocks(nn.ModuleList):
    """``count`` blocks, one after the other, at one rate level."""

    def __init__(self, count: int, width: int, kernel: int, levels: int) -> None:
        super().__init__(ConvNeXtBlock(width, kernel, levels) for _ in range(count))

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        for block in self:
            x = block(x, level)
        return x


class ByLevel(nn.Module):
    """A learned vector for each rate level, linear between ``KNOTS`` levels, evenly spaced.

    (batch,) levels to (batch, size). Level 0 is the lowest rate, ``levels`` - 1 the highest.
    Neighbouring levels differ little, so that a rate that was seldom drawn in training is served by
    its neighbours. Source of gains by rate: Cui et al., "Asymmetric gained deep image compression
    with continuous rate adaptation", 2021, section 3.2.
    """

    KNOTS = 8

    def __init__(self, levels: int, size: int) -> None:
        super().__init__()
        self.levels = levels
        self.knots = nn.Parameter(torch.zeros(min(levels, self.KNOTS), size))

    def forward(self, level: Tensor) -> Tensor:
        count = len(self.knots)
        if count == 1:
            return self.knots.expand(len(level), -1)
        place = level.to(self.knots.dtype) * ((count - 1) / (self.levels - 1))
        lower = place.floor().clamp(max=count - 2).long()
        return torch.lerp(
            self.knots[lower], self.knots[lower + 1], (place - lower.to(place.dtype))[:, None]
        )

    @torch.no_grad()
    def spread(self, first: Tensor, last: Tensor) -> None:
        """Set all vectors on a line from ``first`` at level 0 to ``last`` at the highest level."""
        share = torch.linspace(0, 1, len(self.knots))[:, None] if len(self.knots) > 1 else 1.0
        self.knots.copy_(first + share * (last - first))


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of (batch, channels, frames)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class FrameLinear(nn.Conv1d):
    """A convolution of kernel 1, as the product of matrices that it is.

    (batch, frames, inputs) to (batch, frames, outputs).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight[..., 0], self.bias)


class Spectrum(nn.Module):
    """Frames of samples to compressed complex spectra and back.

    ``analyse`` maps (batch, channels, frames · hop) to (batch, frames, channels · 2 · bins), for
    each channel the real parts before the imaginary parts; ``synthesize`` maps that back by
    overlap-add. Spectra are wide and never whole: ``analyse`` applies the layer that comes after
    it, ``synthesize`` the one before. Bins are divided by the square root of their magnitude: the
    networks then work at something close to the ear's dynamic range, and phases stay as they are.
    Frame m is centred on sample (m + 1/2) · hop.
    """

    window: Tensor
    floor = 1e-5

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.size = window
        self.bins = window // 2 + 1
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        # Overlapping squared Hann windows add up to a constant, once the overlap is three or more.
        overlap = window // hop
        self.gain = overlap * 3 / 8 if overlap > 2 else 1.0

    def analyse(self, waveform: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        margin = (self.size - self.hop) // 2
        frames = F.pad(waveform, (margin, margin)).unfold(-1, self.size, self.hop)
        return by_pieces(lambda piece: layer(self._spectra(piece)), frames)

    def synthesize(self, spectra: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        frames = by_pieces(lambda piece: self._frames(layer(piece)), spectra)
        return overlap_add(frames, self.hop)

    def _spectra(self, frames: Tensor) -> Tensor:
        """(batch, channels, frames, size) to (batch, frames, channels · 2 · bins)."""
        spectrum = real_fft(frames * self.window)
        parts = torch.stack((spectrum.real, spectrum.imag), dim=-2)
        magnitude = parts.square().sum(dim=-2, keepdim=True).sqrt()
        return (parts * (magnitude + self.floor).rsqrt()).transpose(1, 2).flatten(2)

    def _frames(self, spectra: Tensor) -> Tensor:
        """The inverse, windowed once more."""
        parts = spectra.float().unflatten(2, (-1, 2, self.bins)).transpose(1, 2)
        real, imag = parts.unbind(3)
        magnitude = torch.sqrt(real * real + imag * imag + self.floor * self.floor)
        frames = torch.fft.irfft(torch.complex(real * magnitude, imag * magnitude), n=self.size)
        return frames * (self.window / self.gain)


class _RealFFT(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        ctx.size = frames.shape[-1]
        return torch.fft.rfft(frames)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every bin but the first and the last stands for two of the whole transform.
        halved = gradient / 2
        halved[..., 0] *= 2
        halved[..., -1] *= 2
        return torch.fft.irfft(halved, n=ctx.size, norm="forward")


def real_fft(frames: Tensor) -> Tensor:
    """``torch.fft.rfft`` of (…, an even number of) samples, its gradient made by half the work.

    torch's own fills the spectrum's mirror image with zeros and goes back through a complex
    transform of all of it, which made up to half of the time of a spectral distance.
    """
    spectrum: Tensor = _RealFFT.apply(frames)
    return spectrum


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Add (batch, channels, frames, size) with the given hop; the inverse of centred framing.

    ``size`` is a multiple of ``hop``. Returns (batch, channels, frames · hop).
    """
    batch, channels, count, size = frames.shape
    parts = size // hop
    pieces = frames.reshape(batch, channels, count, parts, hop)
    total = frames.new_zeros(batch, channels, count + parts - 1, hop)
    for part in range(parts):
        total[:, :, part : part + count] += pieces[:, :, :, part]
    margin = (size - hop) // 2
    return total.flatten(2)[..., margin : margin + count * hop]
