"""The loss balancer: each loss's say in the gradient, whatever its own scale."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

DECAY = 0.999


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
    norms: dict[str, float] = field(default_factory=dict)
    """Sums of norms with decaying weights; ``counts`` are the sums of these weights."""
    counts: dict[str, float] = field(default_factory=dict)

    over_processes: Callable[[Tensor], Tensor] = lambda norm: norm
    """Mean of a scalar over all processes that train together."""

    def gradient(
        self, losses: dict[str, Tensor], waveform: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """The summed gradient at ``waveform`` (batch, channels, samples), and each loss's share.

        ``losses`` are means over the batch, of a waveform that is a leaf of the graph.
        """
        batch, samples = len(waveform), waveform[0].numel()
        total_weight = sum(self.weights[name] for name in losses)
        total = torch.zeros_like(waveform)
        sizes: dict[str, float] = {}
        for name, loss in losses.items():
            (gradient,) = torch.autograd.grad(loss, waveform, retain_graph=True)
            norms = gradient.flatten(1).norm(dim=1) * batch * samples**0.5
            norm = float(self.over_processes(norms.mean()))
            factor = self.weights[name]
            if self.balanced:
                factor *= 1 / (total_weight * max(self._average(name, norm), 1e-12))
            total += factor * gradient
            sizes[name] = factor * norm
        scale = sum(sizes.values()) or 1.0
        return total, {name: size / scale for name, size in sizes.items()}

    def _average(self, name: str, norm: float) -> float:
        self.norms[name] = DECAY * self.norms.get(name, 0.0) + norm
        self.counts[name] = DECAY * self.counts.get(name, 0.0) + 1
        return self.norms[name] / self.counts[name]
