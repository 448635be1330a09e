"""The loss balancer: each loss's say in the gradient, whatever its own scale."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

DECAY = 0.99
"""Of the averages, per measurement."""
MEASURED_FIRST, MEASURED_EVERY = 50, 8


@dataclass
class Balancer:
    """Gradients of several losses at the decoded waveform, summed in given shares.

    Balanced, a loss of weight w has the share w / Σw of the gradient: each gradient is divided by
    the moving average of its norm. So weights say how much a loss counts, and a loss that grows
    does not drown the others. Not balanced, the sum is that of the plain weighted losses. Source:
    Défossez et al., "High fidelity neural audio compression", 2022, section 3.4, equation 4.

    The norm is that of one item's gradient times the square root of its samples: a change of a
    waveform by ε (root mean square) changes the sum of balanced losses by ε at most. So the rate's
    β means the same for every batch size and segment length.
    """

    weights: dict[str, float]
    balanced: bool
    norms: dict[str, Tensor] = field(default_factory=dict)
    """Sums of norms with decaying weights; ``counts`` are the sums of these weights."""
    counts: dict[str, float] = field(default_factory=dict)
    steps: int = 0

    over_processes: Callable[[Tensor], Tensor] = lambda norm: norm
    """Mean of a scalar over all processes that train together."""

    def gradient(
        self, losses: dict[str, Tensor], waveform: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The summed gradient at ``waveform`` (batch, channels, samples), and each loss's share.

        ``losses`` are means over the batch, of a waveform that is a leaf of the graph. Shares are
        there where norms were measured: in the first ``MEASURED_FIRST`` steps and in every
        ``MEASURED_EVERY``-th one. In all others the averages are taken as they are, and one pass
        through the graph gives the whole gradient.
        """
        self.steps += 1
        measure = self.steps <= MEASURED_FIRST or self.steps % MEASURED_EVERY == 0
        if measure or any(name not in self.norms for name in losses):
            return self._measured(losses, waveform)
        factored = [self._factor(name, losses) * loss for name, loss in losses.items()]
        total = torch.stack(factored).sum()
        (gradient,) = torch.autograd.grad(total, waveform)
        return gradient, {}

    def _measured(
        self, losses: dict[str, Tensor], waveform: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        batch, samples = len(waveform), waveform[0].numel()
        gradient, sizes = torch.zeros_like(waveform), {}
        for name, loss in losses.items():
            (part,) = torch.autograd.grad(loss, waveform, retain_graph=True)
            norms = part.flatten(1).norm(dim=1) * batch * samples**0.5
            norm = self.over_processes(norms.mean())
            self.norms[name] = DECAY * self.norms.get(name, 0.0) + norm
            self.counts[name] = DECAY * self.counts.get(name, 0.0) + 1
            factor = self._factor(name, losses)
            gradient += factor * part
            sizes[name] = factor * norm
        scale = torch.stack(list(sizes.values())).sum().clamp(min=1e-12)
        return gradient, {name: size / scale for name, size in sizes.items()}

    def _factor(self, name: str, losses: dict[str, Tensor]) -> Tensor | float:
        if not self.balanced:
            return self.weights[name]
        average = self.norms[name] / self.counts[name]
        total_weight = sum(self.weights[other] for other in losses)
        return self.weights[name] / (total_weight * average.clamp(min=1e-12))
