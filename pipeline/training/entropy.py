"""The entropy model's own training: encoder and decoder fixed, symbols given."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import audio
from codec.coding.chunks import groups
from codec.model import AudioCodec
from codec.nn.priors import CategoricalPrior, ContextPrior, FactorizedPrior
from pipeline.corpora import manifest
from pipeline.stage import log

FRAMES_PER_STEP = 4096
PIECES, PIECE_FRAMES = 24, 100
CHECKS = 10


def refine(
    prior: FactorizedPrior | CategoricalPrior,
    symbols: NDArray[np.int32],
    held_out: NDArray[np.int32],
    steps: int,
    learning_rate: float,
    seed: int,
) -> tuple[float, float]:
    """Fit ``prior`` in place to (rows, frames) symbols by their mean −log2 p.

    Joint training fitted it to a latent that was still moving, and where it has a density to one
    with added noise; here it sees the very symbols that will be coded. Of the states on the way,
    and the first one, the prior is left in the one whose frozen tables code ``held_out`` in the
    fewest bits. Returns these bits before and after.
    """
    before = fewest = prior.freeze().bits(held_out)
    best = copy.deepcopy(prior.state_dict())
    data = torch.from_numpy(symbols)
    if isinstance(prior, CategoricalPrior):
        states = _counted(prior, data)
    else:
        states = _trained(prior, data, steps, learning_rate, seed)
    for _ in states:
        if (bits := prior.freeze().bits(held_out)) < fewest:
            fewest, best = bits, copy.deepcopy(prior.state_dict())
    prior.load_state_dict(best)
    return before, fewest


def _counted(prior: CategoricalPrior, data: Tensor) -> Iterator[None]:
    """The best probabilities of single entries are their shares: nothing needs steps."""
    prior.fit(data)
    yield


def _trained(
    prior: FactorizedPrior, data: Tensor, steps: int, learning_rate: float, seed: int
) -> Iterator[None]:
    """Gradient steps on random frames; stops on the way to be looked at, ``CHECKS`` times."""
    data = data.float()
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(prior.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    check_at = {round(steps * part / CHECKS) for part in range(1, CHECKS + 1)}
    for step in range(1, steps + 1):
        chosen = torch.randint(
            data.shape[1], (min(FRAMES_PER_STEP, data.shape[1]),), generator=draw
        )
        loss = prior.bits(data[None, :, chosen]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step in check_at:
            yield


Piece = tuple[NDArray[np.int32], int]
"""(channels, frames) symbols, and the level of rate that they were made at."""


def refine_context(
    prior: ContextPrior,
    pieces: list[Piece],
    held_out: list[Piece],
    steps: int,
    learning_rate: float,
    seed: int,
) -> tuple[float, float]:
    """Fit ``prior`` in place to the very symbols that will be coded; bits of ``held_out``.

    In joint training it saw a latent with noise. Each step takes ``PIECES`` stretches of
    ``PIECE_FRAMES`` frames. Returns the bits before and after.
    """
    before = _context_bits(prior, held_out)
    rng = np.random.default_rng([seed, 2])
    optimizer = torch.optim.Adam(prior.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    long = [piece for piece in pieces if piece[0].shape[1] >= PIECE_FRAMES] or pieces
    shortest = min(PIECE_FRAMES, *(symbols.shape[1] for symbols, _ in long))
    for step in range(1, steps + 1):
        drawn = [long[index] for index in rng.integers(len(long), size=PIECES)]
        starts = [int(rng.integers(symbols.shape[1] - shortest + 1)) for symbols, _ in drawn]
        batch = np.stack(
            [one[:, at : at + shortest] for (one, _), at in zip(drawn, starts, strict=True)]
        )
        symbols = torch.from_numpy(batch).float()
        level = torch.tensor([level for _, level in drawn])
        loss = prior.bits(symbols, symbols, level).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(1, steps // CHECKS) == 0:
            log.info("step %d of %d: %.5f bits a symbol", step, steps, loss.item())
    return before, _context_bits(prior, held_out)


@torch.no_grad()
def _context_bits(prior: ContextPrior, pieces: list[Piece]) -> float:
    total = 0.0
    for symbols, level in pieces:
        values = torch.from_numpy(symbols)[None].float()
        total += float(prior.bits(values, values, torch.tensor([level])).sum())
    return total


def draw_pieces(codec: AudioCodec, split: Path, seconds: float, seed: int) -> list[Piece]:
    """Symbols of clips drawn from a split, up to ``seconds``, each at a level drawn for it."""
    rng = np.random.default_rng([seed, 3])
    found: list[Piece] = []
    for waveform in _drawn(codec, split, seconds, seed):
        level = int(rng.integers(codec.config.levels))
        found += [(group, level) for group in codec.symbols(waveform, level)]
    return found


def draw_symbols(
    codec: AudioCodec, split: Path, seconds: float, seed: int, level: int | None = None
) -> NDArray[np.int32]:
    """(rows, frames) symbols of clips drawn from a split, up to ``seconds``, all at one level."""
    waveforms = _drawn(codec, split, seconds, seed)
    parts = [part for wave in waveforms for part in codec.symbols(wave, level)]
    return np.concatenate(parts, axis=-1)


def _drawn(
    codec: AudioCodec, split: Path, seconds: float, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Clips of a split in random order, at the codec's rate, until their symbols last so long."""
    clips = manifest.read(split)
    order = np.random.default_rng([seed, 1]).permutation(len(clips))
    total = 0.0
    for index in order:
        if total >= seconds:
            break
        waveform, rate = audio.read(split / clips[index].file)
        resampled = audio.resample(waveform, rate, codec.config.sample_rate)
        yield resampled
        frames = -(-(resampled.shape[-1] + codec.config.tail) // codec.config.hop)
        total += groups(len(resampled), codec.config) * frames / codec.config.frame_rate
