"""What trains: encoder, quantizer, prior and decoder."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.nn.decoder import build_decoder
from codec.nn.encoder import build_encoder
from codec.nn.priors import build_prior
from codec.nn.quantizer import build_quantizer, straight_through


@dataclass
class TrainingOutput:
    """What ``CodecNetwork.forward`` gives to the losses."""

    waveform: Tensor
    """(batch, channels, samples): the decoded waveform."""
    latent: Tensor
    """(batch, latent_channels, frames): the encoder's output."""
    codes: Tensor
    """The same shape: the latent as the decoder will see it, without gradient to the encoder."""
    kbps: Tensor
    """Scalar: estimated rate, −log2 p summed, per second of audio, in kilobits."""


class CodecNetwork(nn.Module):
    """The networks of one codec, for ``config.channels`` audio channels at ``sample_rate``."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.quantizer = build_quantizer(config)
        self.prior = build_prior(config)
        self.decoder = build_decoder(config)

    def forward(self, waveform: Tensor) -> TrainingOutput:
        """(batch, channels, frames · hop) waveform at the codec's rate, to symbols and back."""
        latent = self.encoder(waveform).float()
        seconds = waveform.shape[0] * waveform.shape[-1] / self.config.sample_rate
        # Rounding and small differences of probabilities need all of float32, also where the
        # networks around them run in 16 bits.
        with torch.autocast(waveform.device.type, enabled=False):
            quantized = self.quantizer(latent)
            kbps = self.prior.bits(quantized.rated).sum() / seconds / 1000
        decoded = self.decoder(straight_through(latent, quantized.codes))
        return TrainingOutput(decoded, latent, quantized.codes, kbps)
