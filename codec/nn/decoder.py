"""Decoders: quantized latent to waveform."""

import torch.nn.functional as F
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.nn.layers import ChannelNorm, ConvNeXtBlock, ResidualUnit, Spectrum


class WaveformDecoder(nn.Module):
    """Transposed convolutions with residual units, the mirror of ``WaveformEncoder``.

    (batch, latent_channels, frames) to (batch, channels, frames · hop), exactly: a transposed
    convolution of odd kernel k, stride s, padding (k - 1) / 2 and output padding s - 1 turns L
    into s · L.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        kernel, width = config.kernel, config.widths[-1]
        layers: list[nn.Module] = [
            nn.Conv1d(config.latent_channels, width, kernel, padding=kernel // 2)
        ]
        next_widths = [*config.widths[-2::-1], config.widths[0]]
        for stride, next_width in zip(config.strides[::-1], next_widths, strict=True):
            layers += [ResidualUnit(width, kernel) for _ in range(config.decoder_blocks)]
            layers.append(
                nn.ConvTranspose1d(
                    width, next_width, kernel, stride, kernel // 2, output_padding=stride - 1
                )
            )
            width = next_width
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv1d(width, config.channels, kernel, padding=kernel // 2)

    def forward(self, quantized: Tensor) -> Tensor:
        return self.head(F.elu(self.body(quantized)))


class SpectralDecoder(nn.Module):
    """ConvNeXt blocks at frame rate, then an inverse Fourier transform with overlap-add.

    (batch, latent_channels, frames) to (batch, channels, frames · hop).
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.widths[0]
        self.spectrum = Spectrum(config.window, config.hop)
        self.stem = nn.Conv1d(
            config.latent_channels, width, config.kernel, padding=config.kernel // 2
        )
        self.blocks = nn.Sequential(
            *(ConvNeXtBlock(width, config.kernel) for _ in range(config.decoder_blocks))
        )
        self.norm = ChannelNorm(width)
        self.head = nn.Conv1d(width, config.channels * 2 * self.spectrum.bins, 1)

    def forward(self, quantized: Tensor) -> Tensor:
        stem = self.stem(quantized)
        return self.spectrum.synthesize(self.head(stem + self.norm(self.blocks(stem))))


def build_decoder(config: CodecConfig) -> nn.Module:
    """The decoder that ``config`` names."""
    return (WaveformDecoder if config.architecture == "waveform" else SpectralDecoder)(config)
