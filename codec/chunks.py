"""Long audio through networks of short reach, in windows of one fixed size.

The signal is taken to be zero before its start and after its end, and so are the symbols. Every
window has ``BLOCK_FRAMES`` frames to keep and ``config.context_frames`` on either side to give the
kept ones all that they depend on. Windows lie on a grid that starts at the file's first frame, so
a frame's value does not depend on how much audio is at hand, and memory does not grow with it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.config import CodecConfig

BLOCK_FRAMES = 300


def encode_latent(encoder: nn.Module, waveform: Tensor, config: CodecConfig) -> Tensor:
    """(channels, samples) at the codec's rate to (channels, latent_channels, frames).

    frames = ceil(samples / hop); each audio channel is encoded on its own.
    """
    frames = -(-waveform.shape[-1] // config.hop)
    windows = _windows(waveform, frames, config.hop, config.context_frames)
    keep = slice(config.context_frames, config.context_frames + BLOCK_FRAMES)
    blocks = [
        torch.cat([encoder(row[None, None])[..., keep] for row in window]) for window in windows
    ]
    return torch.cat(blocks, dim=-1)[..., :frames]


def decode_latent(decoder: nn.Module, latent: Tensor, config: CodecConfig) -> Tensor:
    """(channels, latent_channels, frames) to (channels, frames · hop)."""
    frames = latent.shape[-1]
    windows = _windows(latent, frames, 1, config.context_frames)
    start = config.context_frames * config.hop
    keep = slice(start, start + BLOCK_FRAMES * config.hop)
    blocks = [torch.cat([decoder(row[None])[0, :, keep] for row in window]) for window in windows]
    return torch.cat(blocks, dim=-1)[..., : frames * config.hop]


def _windows(signal: Tensor, frames: int, step: int, context: int) -> list[Tensor]:
    """Cut the last axis (``step`` values a frame) into windows of equal size, with context."""
    count = -(-frames // BLOCK_FRAMES)
    size = (BLOCK_FRAMES + 2 * context) * step
    right = (count * BLOCK_FRAMES + context) * step - signal.shape[-1]
    padded = F.pad(signal, (context * step, right))
    return [
        padded[..., start : start + size]
        for start in range(0, count * BLOCK_FRAMES * step, BLOCK_FRAMES * step)
    ]
