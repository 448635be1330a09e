"""Factorized priors: probabilities of symbols in training, integer tables once frozen."""

import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.coding.tables import MAX_SYMBOL, FrozenTables
from codec.config import CodecConfig


class FactorizedPrior(nn.Module):
    """p(z) = Π p_c(z[c, m]): one learned density per channel, the same for every frame.

    Each channel has a small network that is increasing by construction, and whose output through
    a sigmoid is the cumulative distribution. Source: Ballé et al., "Variational image compression
    with a scale hyperprior", 2018, appendix 6.1.
    """

    def __init__(self, channels: int, layers: tuple[int, ...] = (3, 3, 3)) -> None:
        super().__init__()
        self.channels = channels
        sizes = (1, *layers, 1)
        # Each of the len(sizes) - 1 maps widens the density by the same factor, 10 in all.
        spread = 10.0 ** (1 / (len(sizes) - 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.gates = nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            start = math.log(math.expm1(1 / spread / fan_out))
            self.matrices.append(nn.Parameter(torch.full((channels, fan_out, fan_in), start)))
            self.biases.append(nn.Parameter(torch.rand(channels, fan_out, 1) - 0.5))
        for size in layers:
            self.gates.append(nn.Parameter(torch.zeros(channels, size, 1)))

    def _logits(self, values: Tensor) -> Tensor:
        """(channels, 1, n) values to the logits of their cumulative probability."""
        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            values = torch.matmul(F.softplus(matrix), values) + bias
            if i < len(self.gates):
                values = values + torch.tanh(self.gates[i]) * torch.tanh(values)
        return values

    def bits(self, latent: Tensor) -> Tensor:
        """−log2 of the mass in [v − 1/2, v + 1/2) around each value v, shape of ``latent``.

        ``latent`` is (batch, channels, frames), integers or noisy. Never above 30 bits a value:
        the floor keeps the gradient finite for values that the prior rules out.
        """
        batch, channels, frames = latent.shape
        flat = latent.transpose(0, 1).reshape(channels, 1, batch * frames)
        lower, upper = self._logits(flat - 0.5), self._logits(flat + 0.5)
        # Both logits on the negative side, where the sigmoid keeps its precision.
        sign = -torch.sign(lower + upper).detach()
        mass = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
        bits = -torch.log2(torch.clamp(mass, min=2.0**-30))
        return bits.reshape(channels, batch, frames).transpose(0, 1)

    @torch.no_grad()
    def freeze(self) -> "FrozenTables":
        """The prior as integer tables, computed once, in double precision, on the CPU."""
        prior = FactorizedPrior(self.channels, tuple(gate.shape[1] for gate in self.gates))
        prior.load_state_dict(self.state_dict())
        prior = prior.double().cpu()
        edges = torch.arange(-MAX_SYMBOL - 0.5, MAX_SYMBOL + 1, dtype=torch.float64)
        logits = prior._logits(edges.expand(self.channels, 1, -1))[:, 0]
        masses = np.diff(torch.sigmoid(logits).numpy(), axis=1)
        return FrozenTables.from_masses(masses, lowest=-MAX_SYMBOL)


class CategoricalPrior(nn.Module):
    """p(k) = Π p_b(k[b, m]): one learned probability per entry of each codebook."""

    def __init__(self, codebooks: int, size: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(codebooks, size))

    def bits(self, indices: Tensor) -> Tensor:
        """−log2 of the probability of each index; (batch, codebooks, frames) to the same."""
        log_p = F.log_softmax(self.logits, dim=1) / math.log(2)
        rows = indices.long().transpose(0, 1).flatten(1)
        bits = -torch.gather(log_p, 1, rows)
        return bits.unflatten(1, (indices.shape[0], -1)).transpose(0, 1)

    @torch.no_grad()
    def fit(self, indices: Tensor) -> None:
        """Set the probabilities to the shares of (codebooks, n) indices, each counted once more.

        So no entry is impossible (Laplace's rule of succession).
        """
        size = self.logits.shape[1]
        counts = torch.stack([torch.bincount(row.long(), minlength=size) for row in indices])
        self.logits.copy_(torch.log(1.0 + counts))

    @torch.no_grad()
    def freeze(self) -> "FrozenTables":
        """The prior as integer tables, computed once, in double precision, on the CPU."""
        masses = F.softmax(self.logits.double().cpu(), dim=1).numpy()
        return FrozenTables.from_masses(masses, lowest=0)


Prior = FactorizedPrior | CategoricalPrior


def build_prior(config: CodecConfig) -> Prior:
    """The prior that goes with the quantizer of ``config``."""
    if config.quantizer == "scalar":
        return FactorizedPrior(config.latent_channels)
    return CategoricalPrior(config.codebooks, config.codebook_size)
