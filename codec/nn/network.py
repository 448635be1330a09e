"""What trains: encoder, quantizer, prior and decoder."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.nn.decoder import TransformDecoder, build_decoder
from codec.nn.encoder import build_encoder
from codec.nn.loudness import BandLoudness, change_cost, rounded
from codec.nn.perceptual import PerceptualDecoder
from codec.nn.quantizer import build_quantizer, straight_through

DEAD_ZONE, DEAD_BELOW = 0.06, 4_000.0
"""By how much of a step latents are drawn to zero before they are rounded, and below what
frequency, in Hz. What is just above half a step costs more bits than it is worth; higher up, where
few coefficients of a band are coded at all, each of them is missed."""


@dataclass
class TrainingOutput:
    """What ``CodecNetwork.forward`` gives to the losses."""

    waveform: Tensor
    """(batch, channels, samples): the decoded waveform."""
    latent: Tensor
    """(batch, values, frames): the encoder's output, then gains of bands where there are any."""
    codes: Tensor
    """The same shape: the latent as the decoder will see it, without gradient to the encoder."""
    symbols: Tensor
    """(batch, rows, frames): what would be coded, integers."""
    kbps: Tensor
    """(batch,): estimated rate, −log2 p summed, per second of audio, in kilobits; 0 where files are
    given, and a perceptual decoder trains."""
    level: Tensor
    """(batch,): the rate level of each item."""


class CodecNetwork(nn.Module):
    """The networks of one codec, for ``config.channels`` audio channels at ``sample_rate``."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.quantizer = build_quantizer(config)
        self.prior = self.quantizer.prior()
        self.decoder = build_decoder(config)
        self.perceptual = PerceptualDecoder(config) if config.perceptual_noise else None

    def forward(self, waveform: Tensor, level: Tensor | None = None) -> TrainingOutput:
        """(batch, channels, frames · hop) waveform at the codec's rate, to symbols and back.

        ``level`` is (batch,), the rate level of each item; None: the highest rate for all. What
        gains of bands mend is asked of the networks all the same: the waveform is without them.
        """
        if level is None:
            level = self.highest(len(waveform), waveform.device)
        if self.perceptual is not None:
            return self._perceptual_forward(waveform, level)
        latent, decoded = self._encoded(waveform, level)
        latent = self.settled(latent, level)
        seconds = waveform.shape[-1] / self.config.sample_rate
        # Rounding and small differences of probabilities need all of float32, also where the
        # networks around them run in 16 bits.
        with torch.autocast(waveform.device.type, enabled=False):
            quantized = self.quantizer(latent)
            rated = quantized.rated
            if self.config.gain_bands:  # they have no gradient, for which noise is there
                latents = self.config.latent_channels
                rated = torch.cat((rated[:, :latents], quantized.symbols[:, latents:]), dim=1)
            bits = self.prior.bits(rated, quantized.symbols, level)
            kbps = bits.sum(dim=(1, 2)) / seconds / 1000
        if decoded is None:
            decoded = self.decoder(straight_through(latent, quantized.codes), level)
        return TrainingOutput(decoded, latent, quantized.codes, quantized.symbols, kbps, level)

    def _perceptual_forward(self, waveform: Tensor, level: Tensor) -> TrainingOutput:
        """``forward`` of the perceptual decoder alone, on what a file would hold."""
        with torch.no_grad():
            latent = self.settled(self.encode(waveform, level), level)
            symbols = self.quantizer.quantize(latent)
            codes = self.quantizer.dequantize(symbols)
        decoded, kbps = self.perceived(codes, level), latent.new_zeros(len(latent))
        return TrainingOutput(decoded, latent, codes, symbols, kbps, level)

    def perceived(self, symbols: Tensor, level: Tensor) -> Tensor:
        """(batch, values, frames) symbols to the perceptual decoder's (batch, channels, samples).

        Every band is as loud as the first decoder's, which gains were measured on; the lowest ones
        are the first decoder's.
        """
        assert self.perceptual is not None
        loudness = cast(BandLoudness, cast(TransformDecoder, self.decoder).loudness)
        first, second = self.decoder(symbols, level), self.perceptual(symbols, level)
        with torch.autocast(symbols.device.type, enabled=False):
            second = loudness.matched(second.float(), loudness.energies(first))
            return first + self.perceptual.treble(second - first)

    def encode(self, waveform: Tensor, level: Tensor) -> Tensor:
        """(batch, channels, frames · hop) waveform to (batch, values, frames), not quantized.

        Where there are gains of bands, the last values, they are measured on what the latents give
        once decoded, and bands of which nothing is heard are left empty.
        """
        return self._encoded(waveform, level)[0]

    def _encoded(self, waveform: Tensor, level: Tensor) -> tuple[Tensor, Tensor | None]:
        """What ``encode`` gives, and the waveform on which gains, if any, were measured."""
        latent = self.encoder(waveform, level).float()
        if not self.config.gain_bands:
            return latent, None
        decoder = cast(TransformDecoder, self.decoder)
        loudness = cast(BandLoudness, decoder.loudness)
        with torch.autocast(waveform.device.type, enabled=False):
            wanted = loudness.energies(waveform)
            latent = spared(latent, self.config) * loudness.audible(wanted, self.config.bins)
        decoded = decoder.unadjusted(straight_through(latent, torch.round(latent)), level)
        with torch.autocast(waveform.device.type, enabled=False), torch.no_grad():
            gains = loudness.measure(wanted, decoded.float()) / decoder.gain_step(level)
        return torch.cat((latent, gains), dim=1), decoded

    def settled(self, latent: Tensor, level: Tensor) -> Tensor:
        """(batch, values, frames) with its gains of bands rounded, the steadier the lower the rate.

        What comes in pieces has to be cut at multiples of ``loudness.BLOCK`` frames.
        """
        if not self.config.gain_bands:
            return latent
        cost = change_cost(self.config.gain_change, level, self.config.levels)
        latents, gains = latent.tensor_split([self.config.latent_channels], dim=1)
        return torch.cat((latents, rounded(gains, cost)), dim=1)

    def highest(self, count: int, device: torch.device) -> Tensor:
        """(count,) times the level of the highest rate."""
        return torch.full((count,), self.config.levels - 1, device=device)


def spared(latent: Tensor, config: CodecConfig) -> Tensor:
    """(batch, latent_channels, frames) with a dead zone around zero at low frequencies.

    Source: Sullivan, "Efficient scalar quantization of exponential and Laplacian random variables",
    1996.
    """
    bins = torch.arange(config.bins, device=latent.device)
    hertz = (bins + 0.5) * config.sample_rate / (2 * config.hop)
    zone = torch.where(hertz < DEAD_BELOW, DEAD_ZONE, 0.0).repeat(config.channels)[:, None]
    return latent - latent.clamp(-zone, zone)
