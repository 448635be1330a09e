"""Decoders: quantized latent to waveform."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.nn.encoder import TransformEncoder, log_gains
from codec.nn.layers import (
    ByLevel,
    ChannelNorm,
    ConvNeXtBlocks,
    FrameLinear,
    ResidualUnit,
    Spectrum,
)
from codec.nn.loudness import BandLoudness, step_db
from codec.nn.transform import MDCT, ChannelRotation, PowerLaw


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

    def forward(self, quantized: Tensor, level: Tensor | None = None) -> Tensor:
        return self.head(F.elu(self.body(quantized)))


class SpectralDecoder(nn.Module):
    """ConvNeXt blocks at frame rate, then an inverse Fourier transform with overlap-add.

    (batch, latent_channels, frames) to (batch, channels, frames · hop). ``texture``, (batch, width,
    frames), joins what the first layer makes of the latent.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.widths[0]
        self.spectrum = Spectrum(config.window, config.hop)
        # A transform codec has a latent per coefficient, and that many channels are dear.
        kernel = 3 if config.architecture == "transform" else config.kernel
        self.stem = nn.Conv1d(config.latent_channels, width, kernel, padding=kernel // 2)
        self.blocks = ConvNeXtBlocks(config.decoder_blocks, width, config.kernel, config.levels)
        self.norm = ChannelNorm(width)
        self.head = FrameLinear(width, config.channels * 2 * self.spectrum.bins)

    def forward(
        self, quantized: Tensor, level: Tensor | None = None, texture: Tensor | None = None
    ) -> Tensor:
        stem = self.stem(quantized)
        if texture is not None:
            stem = stem + texture
        frames = stem + self.norm(self.blocks(stem, level))
        return self.spectrum.synthesize(frames.transpose(1, 2), self.head)


class TransformDecoder(nn.Module):
    """The inverse of ``TransformEncoder``, plus what a spectral decoder adds.

    (batch, values, frames) symbols and (batch,) levels to (batch, channels, frames · hop); where
    there are gains of bands, they are the last values. Gains of coefficients are its own: what a
    symbol stands for need not be the middle of what is rounded to it.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.hop, self.channels = config.hop, config.channels
        self.rotation = ChannelRotation(config.channels)
        self.mdct = MDCT(config.hop, config.bins)
        self.power = PowerLaw(config.power)
        self.correction = SpectralDecoder(config)
        with torch.no_grad():
            self.correction.head.weight.mul_(0.1)
            self.correction.head.get_parameter("bias").zero_()
        self.gain = ByLevel(config.levels, config.latent_channels)
        finest = -log_gains(config)
        coarsest = finest + math.log(TransformEncoder.RANGE) * (config.levels > 1)
        self.gain.spread(coarsest, finest)
        self.latents, self.levels = config.latent_channels, config.levels
        self.gain_steps = config.gain_steps
        self.loudness = (
            BandLoudness(config.channels, config.sample_rate, config.hop, config.gain_bands)
            if config.gain_bands
            else None
        )

    def forward(self, quantized: Tensor, level: Tensor) -> Tensor:
        decoded = self.unadjusted(quantized[:, : self.latents], level)
        if self.loudness is None:
            return decoded
        with torch.autocast(quantized.device.type, enabled=False):
            gains = self.gain_step(level) * quantized[:, self.latents :].float()
            return self.loudness.adjust(decoded.float(), gains)

    def gain_step(self, level: Tensor) -> Tensor:
        """(batch,) levels to the dB of a step of gains in each, (batch, 1, 1)."""
        return step_db(self.gain_steps, level, self.levels)[:, None, None]

    def unadjusted(self, quantized: Tensor, level: Tensor, texture: Tensor | None = None) -> Tensor:
        """(batch, latent_channels, frames) symbols to what they give without gains of bands."""
        gain = self.gain(level)[:, :, None]
        with torch.autocast(quantized.device.type, enabled=False):
            # The gain is that of the power domain, where the correction works, too.
            coefficients = self.power.inverse(quantized) * (gain / self.power.power).exp()
            plain = self.mdct.synthesize(coefficients.unflatten(1, (self.channels, -1)))
        corrected = plain + self.correction(quantized * gain.exp(), level, texture)
        half = self.hop // 2
        return F.pad(self.rotation.inverse(corrected), (-half, half))


DECODERS = {
    "waveform": WaveformDecoder,
    "spectral": SpectralDecoder,
    "transform": TransformDecoder,
}


def build_decoder(config: CodecConfig) -> nn.Module:
    """The decoder that ``config`` names."""
    return DECODERS[config.architecture](config)
