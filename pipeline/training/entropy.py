"""The entropy model's own training: encoder and decoder fixed, symbols given."""

import numpy as np
import torch
from numpy.typing import NDArray

from codec.entropy_model import FactorizedPrior

FRAMES_PER_STEP = 4096


def refine(
    prior: FactorizedPrior,
    symbols: NDArray[np.int32],
    steps: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Fit ``prior`` in place to (latent_channels, frames) symbols by their mean −log2 p.

    Joint training fitted it to a latent with added noise, and to an encoder that was still
    moving; here it sees the very symbols that will be coded.
    """
    data = torch.from_numpy(symbols.astype(np.float32))
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(prior.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(
            data.shape[1], (min(FRAMES_PER_STEP, data.shape[1]),), generator=draw
        )
        loss = prior.bits(data[None, :, chosen]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
