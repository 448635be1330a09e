"""Long audio through networks of short reach, in windows.

The signal is taken to be zero before its start and after its end, and so is the latent. Every
window has ``BLOCK_FRAMES`` frames to keep and as many on either side as are needed to give the
kept ones all that they depend on. Windows lie on a grid that starts at the signal's first frame,
so a frame's value depends neither on how much audio is at hand nor on the parts that it comes in,
and memory does not grow with its length.

Audio channels go through the networks in groups of ``config.channels``, one group after the other.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.config import CodecConfig

BLOCK_FRAMES = 1000
SHORT_FRAMES = 50
"""The last window keeps a multiple of these: few sizes in all, and little that is thrown away."""


def encode_latent(
    encoder: Callable[[Tensor], Tensor], parts: Iterable[Tensor], config: CodecConfig
) -> Iterator[Tensor]:
    """(channels, samples) parts at the codec's rate to (groups, values, frames) parts.

    In all there are ceil(samples / hop) frames.
    """
    context = config.encoder_context_frames
    for window, frames in _windows(parts, config.hop, context):
        latent = torch.cat([encoder(group[None]) for group in grouped(window, config.channels)])
        yield latent[..., context : context + frames]


def decode_latent(
    decoder: Callable[[Tensor], Tensor], parts: Iterable[Tensor], config: CodecConfig, channels: int
) -> Iterator[Tensor]:
    """(groups, values, frames) parts to (channels, frames · hop) parts."""
    start = config.context_frames * config.hop
    for window, frames in _windows(parts, 1, config.context_frames):
        waveform = torch.cat([decoder(group[None]) for group in window])
        yield _ungrouped(waveform[..., start : start + frames * config.hop], channels)


def groups(channels: int, config: CodecConfig) -> int:
    """How many groups so many audio channels make."""
    return -(-channels // config.channels)


def grouped(window: Tensor, size: int) -> Tensor:
    """(channels, samples) to (groups, size, samples); the last channel fills up its group."""
    missing = -len(window) % size
    filled = torch.cat((window, window[-1:].expand(missing, -1))) if missing else window
    return filled.reshape(-1, size, window.shape[-1])


def _ungrouped(waveform: Tensor, channels: int) -> Tensor:
    """The inverse of ``grouped``: copies of the last channel give their mean."""
    flat = waveform.flatten(0, 1)
    if len(flat) == channels:
        return flat
    return torch.cat((flat[: channels - 1], flat[channels - 1 :].mean(dim=0, keepdim=True)))


def regroup(parts: Iterable[Tensor], size: int, least: int = 1) -> Iterator[Tensor]:
    """The same signal in parts of ``size`` along the last axis; the last one may be shorter.

    One of fewer than ``least`` is joined to the one before.
    """
    waiting: list[Tensor] = []
    for part in parts:
        waiting.append(part)
        # What may be joined to the part before waits with it.
        if sum(one.shape[-1] for one in waiting) >= size + least:
            joined = torch.cat(waiting, dim=-1)
            whole = (joined.shape[-1] - least) // size * size
            yield from joined[..., :whole].split(size, dim=-1)
            waiting = [joined[..., whole:]]
    rest = torch.cat(waiting, dim=-1) if waiting else None
    if rest is not None and rest.shape[-1]:
        yield rest


def with_tail(parts: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """The same signal with so many zeros at its end; nothing for nothing."""
    last: Tensor | None = None
    for last in parts:
        yield last
    if last is not None and count:
        yield last.new_zeros(*last.shape[:-1], count)


def _windows(parts: Iterable[Tensor], step: int, context: int) -> Iterator[tuple[Tensor, int]]:
    """Windows of a signal with ``step`` values a frame, and the frames to keep.

    All are of one size but the last one, which is as short as the signal's end allows.
    """
    size, advance = (BLOCK_FRAMES + 2 * context) * step, BLOCK_FRAMES * step
    buffer: Tensor | None = None
    left = 0
    for part in parts:
        before = F.pad(part[..., :0], (context * step, 0)) if buffer is None else buffer
        buffer = torch.cat((before, part), dim=-1)
        left += part.shape[-1]
        while buffer.shape[-1] >= size:
            yield buffer[..., :size], BLOCK_FRAMES
            buffer, left = buffer[..., advance:], left - advance
    while buffer is not None and left > 0:
        kept = min(BLOCK_FRAMES, -(-left // step))
        size = (-(-kept // SHORT_FRAMES) * SHORT_FRAMES + 2 * context) * step
        yield F.pad(buffer, (0, max(0, size - buffer.shape[-1])))[..., :size], kept
        buffer, left = buffer[..., advance:], left - advance
