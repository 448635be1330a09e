"""What a codec of ours takes: counted and measured on its networks, not said of them."""

import copy
import functools

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from codec.coding.chunks import groups
from codec.config import CodecConfig
from codec.model import AudioCodec
from codec.nn.network import CodecNetwork
from codec.nn.priors import ContextPrior
from pipeline.coders import Cost

_FRAMES = 8
"""That are counted: any number of them take as many times the work of one."""
_WIDTH = 4
_PARTS = 8
"""Of a hop: windows begin and end on halves of it, and strides anywhere."""


@functools.lru_cache(maxsize=2)  # mono and stereo clips of one coder
def cost_of(codec: AudioCodec, channels: int, perceptual: bool = False) -> Cost:
    """The cost of coding so many channels."""
    encoder, decoder = macs(codec, perceptual)
    unused = codec.perceptual if codec.perceptual is not None and not perceptual else nn.Module()
    count = groups(channels, codec.config)
    return Cost(
        lookahead_ms=1000 * lookahead(codec.config, perceptual) / codec.config.sample_rate,
        encoder_macs=count * encoder,
        decoder_macs=count * decoder,
        parameters=_count(codec) - _count(unused),
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def macs(codec: AudioCodec, perceptual: bool = False) -> tuple[float, float]:
    """Multiply-accumulates of encoder and decoder for a second of ``config.channels`` channels.

    Of convolutions and products of matrices, the context model's on both sides; Fourier transforms
    are some per cent more.
    """
    # Where parameters want gradients, the counter follows them.
    config, codec = codec.config, copy.deepcopy(codec).requires_grad_(False)
    waveform = torch.zeros(1, config.channels, _FRAMES * config.hop)
    level = torch.tensor([codec.rate_level()])
    with FlopCounterMode(display=False) as encoding:
        latent = codec.encode(waveform, level)
    with FlopCounterMode(display=False) as decoding:
        codec.perceived(latent, level) if perceptual else codec.decoder(latent, level)
    with FlopCounterMode(display=False) as modelling:
        if isinstance(codec.prior, ContextPrior):
            codec.prior(latent.round(), level)
    seconds = _FRAMES / config.frame_rate
    encoder, decoder, model = (
        counter.get_total_flops() / 2 / seconds for counter in (encoding, decoding, modelling)
    )
    return encoder + model, decoder + model


@torch.no_grad()
def lookahead(config: CodecConfig, perceptual: bool = False) -> int:
    """Samples that have to come after a sample before it can be decoded, at the codec's rate.

    Found by making one sample of the input NaN: what is decoded from it is NaN. Networks of another
    width see as far, and take less time.
    """
    network = CodecNetwork(
        config.model_copy(update={"widths": [_WIDTH] * len(config.widths), "levels": 1})
    ).eval()
    hop = config.hop
    parts = hop if config.architecture == "waveform" else _PARTS
    before = 1 + config.encoder_context_frames + config.context_frames
    waveform = torch.zeros(parts, config.channels, (before + 2) * hop)
    # The last sample of each part of a frame: those before it are seen from as far.
    places = before * hop + torch.arange(1, parts + 1) * hop // parts - 1
    waveform[torch.arange(parts), :, places] = torch.nan
    level = torch.zeros(parts, dtype=torch.long)
    decoder = network.perceived if perceptual else network.decoder
    decoded = decoder(network.encode(waveform, level), level)
    first = decoded.isnan().any(dim=1).int().argmax(dim=1)
    return int((places - first).max())
