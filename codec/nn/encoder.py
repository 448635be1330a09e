"""Encoders: waveform to latent."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.nn.layers import (
    ByLevel,
    ChannelNorm,
    ConvNeXtBlocks,
    FrameLinear,
    ResidualUnit,
    Spectrum,
)
from codec.nn.transform import MDCT, ChannelRotation, PowerLaw


class WaveformEncoder(nn.Module):
    """Strided convolutions with residual units.

    (batch, channels, samples) to (batch, latent_channels, ceil(samples / hop)). A convolution of
    odd kernel k, stride s and padding (k - 1) / 2 turns L samples into floor((L - 1) / s) + 1.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        kernel, width = config.kernel, config.channels
        layers: list[nn.Module] = []
        for stride, next_width in zip(config.strides, config.widths, strict=True):
            layers.append(nn.Conv1d(width, next_width, kernel, stride, padding=kernel // 2))
            layers += [ResidualUnit(next_width, kernel) for _ in range(config.encoder_blocks)]
            width = next_width
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv1d(width, config.latent_channels, kernel, padding=kernel // 2)

    def forward(self, waveform: Tensor, level: Tensor | None = None) -> Tensor:
        return self.head(F.elu(self.body(waveform)))


class SpectralEncoder(nn.Module):
    """Windowed Fourier transform, then ConvNeXt blocks at frame rate.

    (batch, channels, frames · hop) to (batch, latent_channels, frames).
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.widths[0]
        self.spectrum = Spectrum(config.window, config.hop)
        self.stem = FrameLinear(config.channels * 2 * self.spectrum.bins, width)
        self.norm = ChannelNorm(width)
        self.blocks = ConvNeXtBlocks(config.encoder_blocks, width, config.kernel, config.levels)
        self.head = FrameLinear(width, config.latent_channels)

    def forward(self, waveform: Tensor, level: Tensor | None = None) -> Tensor:
        stem = self.spectrum.analyse(waveform, self.stem).transpose(1, 2)
        frames = stem + self.blocks(self.norm(stem), level)
        return self.head(frames.transpose(1, 2)).transpose(1, 2)


class TransformEncoder(nn.Module):
    """A lapped transform of mid and side, corrected by a spectral encoder, scaled by rate.

    (batch, channels, frames · hop) and (batch,) levels to (batch, latent_channels, frames): for
    each channel its lowest coefficients, in the power domain, plus what the network adds, times a
    gain for each coefficient and level. The network begins at zero, so that an untrained codec is a
    transform codec. Frame m is centred on sample m · hop: the first frame begins before the signal.
    """

    FINEST = (12.0, 4.0)
    """Gains of the lowest and the highest coefficient at the highest level, before training."""
    RANGE = 12.0
    """How much smaller they are at the lowest level."""
    SHARE = 0.3
    """Of a step of the highest level: what the network's output of 1 adds."""

    unit: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.hop = config.hop
        self.rotation = ChannelRotation(config.channels)
        self.mdct = MDCT(config.hop, config.bins)
        self.power = PowerLaw(config.power)
        self.correction = SpectralEncoder(config)
        for parameter in self.correction.head.parameters():
            nn.init.zeros_(parameter)
        self.gain = ByLevel(config.levels, config.latent_channels)
        finest = log_gains(config)
        # What the network says is in parts of a step of the highest level, so that no step of
        # training moves a latent far.
        self.register_buffer("unit", self.SHARE * (-finest).exp()[:, None], persistent=False)
        self.gain.spread(finest - math.log(self.RANGE) * (config.levels > 1), finest)

    def forward(self, waveform: Tensor, level: Tensor) -> Tensor:
        half = self.hop // 2
        rotated = self.rotation(F.pad(waveform.float(), (half, -half)))
        with torch.autocast(waveform.device.type, enabled=False):
            coefficients = self.power(self.mdct.analyse(rotated)).flatten(1, 2)
        corrected = coefficients + self.unit * self.correction(rotated, level).float()
        return corrected * self.gain(level).exp()[:, :, None]


def log_gains(config: CodecConfig) -> Tensor:
    """(latent_channels,) ln of the gains at the highest level, as training begins."""
    lowest, highest = (math.log(gain) for gain in TransformEncoder.FINEST)
    return torch.linspace(lowest, highest, config.bins).repeat(config.channels)


ENCODERS = {
    "waveform": WaveformEncoder,
    "spectral": SpectralEncoder,
    "transform": TransformEncoder,
}


def build_encoder(config: CodecConfig) -> nn.Module:
    """The encoder that ``config`` names."""
    return ENCODERS[config.architecture](config)
