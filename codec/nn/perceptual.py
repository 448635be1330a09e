"""A second decoder of the same symbols, trained to sound like recordings.

A decoder that minimises distances gives something like the mean of all that its symbols may stand
for, which is duller than each of it. The second one is the first one trained on against a
discriminator, with noise to make texture of; encoder, entropy model and files stay what they are,
and it is the listener who chooses. Source of the two decoders of one file: Agustsson et al.,
"Multi-realism image compression with a conditional generator", 2023, section 3; of noise as an
input: Tschannen et al., "Deep generative models for distribution-preserving lossy compression",
2018, section 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.nn.decoder import TransformDecoder

CROSSOVER = 2_000.0
"""Hz below which the first decoder is heard: there most is coded, and near to the original."""
SLOPE = 1_500.0
"""Hz from where the second one begins to be heard to where it is heard alone."""
WORD = 0xFFFFFFFF
"""Hashes are of 32 bits."""


class PerceptualDecoder(nn.Module):
    """A ``TransformDecoder`` that hears ``config.perceptual_noise`` channels of noise, too.

    (batch, values, frames) symbols and (batch,) levels to (batch, channels, frames · hop), before
    any gains of bands.
    """

    filter: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.decoder = TransformDecoder(config)
        width = config.widths[0]
        self.texture = nn.Conv1d(config.perceptual_noise, width, 3, padding=1, bias=False)
        nn.init.normal_(self.texture.weight, std=0.01)
        self.register_buffer("filter", high_pass(config.sample_rate)[None, None], persistent=False)

    def forward(self, symbols: Tensor, level: Tensor) -> Tensor:
        texture = self.texture(noise(symbols, self.texture.in_channels))
        return self.decoder.unadjusted(symbols[:, : self.decoder.latents], level, texture)

    def treble(self, waveform: Tensor) -> Tensor:
        """(batch, channels, samples) without what is below ``CROSSOVER``."""
        rows = waveform.flatten(0, 1)[:, None]
        filtered = F.conv1d(rows, self.filter, padding=self.filter.shape[-1] // 2)
        return filtered.view_as(waveform)


def high_pass(sample_rate: int) -> Tensor:
    """(taps,) impulse response of a symmetric filter: a sinc in a Hann window."""
    reach = round(2 * sample_rate / SLOPE)
    time = torch.arange(-reach, reach + 1, dtype=torch.float64)
    low = torch.sinc(2 * CROSSOVER / sample_rate * time)
    low *= torch.hann_window(2 * reach + 3, periodic=False, dtype=torch.float64)[1:-1]
    high = -low / low.sum()
    high[reach] += 1
    return high.float()


def noise(symbols: Tensor, channels: int) -> Tensor:
    """(batch, values, frames) symbols to (batch, channels, frames) of noise of variance 1.

    It is uniform, and a hash of each frame's own symbols: the same file always sounds the same, on
    every machine and from wherever it is decoded.
    """
    whole = symbols.round().long() & WORD
    odd = 2 * torch.arange(symbols.shape[1], device=symbols.device)[:, None] + 1
    frame = (whole * _mixed(odd) & WORD).sum(dim=1, keepdim=True)
    channel = _mixed(torch.arange(1, channels + 1, device=symbols.device))[:, None]
    uniform = _mixed((frame + channel) & WORD).float() / (WORD + 1)
    return (2 * uniform - 1) * 3**0.5


def _mixed(words: Tensor) -> Tensor:
    """Each of some 32-bit words to another one that tells nothing of it."""
    for _ in range(2):
        words = ((words ^ (words >> 16)) * 0x45D9F3B) & WORD
    return words ^ (words >> 16)
