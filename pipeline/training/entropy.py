"""The entropy model's own training: encoder and decoder fixed, symbols given."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import audio
from codec.model import AudioCodec
from codec.nn.priors import CategoricalPrior, FactorizedPrior, Prior
from pipeline.corpora import manifest

FRAMES_PER_STEP = 4096
CHECKS = 10


def refine(
    prior: Prior,
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


def draw_symbols(codec: AudioCodec, split: Path, seconds: float, seed: int) -> NDArray[np.int32]:
    """(rows, frames) symbols of clips drawn from a split, up to ``seconds``."""
    clips = manifest.read(split)
    order = np.random.default_rng([seed, 1]).permutation(len(clips))
    parts: list[NDArray[np.int32]] = []
    total = 0.0
    for index in order:
        if total >= seconds:
            break
        waveform, rate = audio.read(split / clips[index].file)
        found = codec.symbols(audio.resample(waveform, rate, codec.config.sample_rate))
        parts.extend(found)
        total += found.shape[0] * found.shape[-1] / codec.config.frame_rate
    return np.concatenate(parts, axis=-1)
