"""Encoders: waveform to latent."""

import torch.nn.functional as F
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.nn.layers import ChannelNorm, ConvNeXtBlock, ResidualUnit, Spectrum


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

    def forward(self, waveform: Tensor) -> Tensor:
        return self.head(F.elu(self.body(waveform)))


class SpectralEncoder(nn.Module):
    """Windowed Fourier transform, then ConvNeXt blocks at frame rate.

    (batch, channels, frames · hop) to (batch, latent_channels, frames).
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.widths[0]
        self.spectrum = Spectrum(config.window, config.hop)
        self.stem = nn.Conv1d(config.channels * 2 * self.spectrum.bins, width, 1)
        self.norm = ChannelNorm(width)
        self.blocks = nn.Sequential(
            *(ConvNeXtBlock(width, config.kernel) for _ in range(config.encoder_blocks))
        )
        self.head = nn.Conv1d(width, config.latent_channels, 1)

    def forward(self, waveform: Tensor) -> Tensor:
        stem = self.stem(self.spectrum.analyse(waveform))
        return self.head(stem + self.blocks(self.norm(stem)))


def build_encoder(config: CodecConfig) -> nn.Module:
    """The encoder that ``config`` names."""
    return (WaveformEncoder if config.architecture == "waveform" else SpectralEncoder)(config)
