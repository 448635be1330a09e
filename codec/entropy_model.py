"""Factorized priors: probabilities of symbols in training, integer tables once frozen."""

import hashlib
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from codec.config import CodecConfig

PRECISION = 24
"""Bits of a frozen probability; the range coder's own precision."""

TOTAL = 1 << PRECISION
MAX_SYMBOL = 2047
"""No table reaches further than this; symbols beyond take the escape."""


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


@dataclass(frozen=True)
class FrozenTables:
    """Integer frequencies, a row per latent channel or codebook: what decides the bits.

    Each row sums to 2^24. ``lowest[r]`` is the symbol of the row's first entry; entries follow in
    steps of one; the last entry is the escape, for all symbols outside. ``starts`` has rows + 1
    offsets into ``frequencies``.
    """

    lowest: NDArray[np.int32]
    starts: NDArray[np.int32]
    frequencies: NDArray[np.int32]

    @classmethod
    def from_masses(cls, masses: NDArray[np.float64], lowest: int) -> "FrozenTables":
        """Quantize (rows, symbols) masses, the first column being symbol ``lowest``.

        A row keeps the symbols from its first to its last of at least 2^-22; what lies
        outside goes to the escape. Every entry gets a frequency of at least one, so that any
        symbol can be coded.
        """
        lows, starts, columns = [], [0], []
        for row in masses:
            kept = np.flatnonzero(row >= 2.0**-22)
            if not len(kept):
                raise ValueError("a row's prior has no symbol of measurable probability")
            first, last = int(kept[0]), int(kept[-1])
            inside = row[first : last + 1]
            entries = np.append(inside, max(0.0, 1.0 - float(inside.sum())))
            frequencies = 1 + np.floor(entries / entries.sum() * (TOTAL - len(entries)))
            frequencies = frequencies.astype(np.int64)
            frequencies[int(np.argmax(frequencies))] += TOTAL - int(frequencies.sum())
            lows.append(lowest + first)
            columns.append(frequencies)
            starts.append(starts[-1] + len(frequencies))
        return cls(
            np.array(lows, np.int32),
            np.array(starts, np.int32),
            np.concatenate(columns).astype(np.int32),
        )

    @property
    def rows(self) -> int:
        return len(self.lowest)

    def row(self, index: int) -> tuple[int, NDArray[np.int32]]:
        """Lowest symbol and frequencies (the last one is the escape's) of one row."""
        return int(self.lowest[index]), self.frequencies[
            self.starts[index] : self.starts[index + 1]
        ]

    def select(self, rows: list[int]) -> "FrozenTables":
        """Tables of these rows, in this order; a row may stand there more than once."""
        found = [self.row(index) for index in rows]
        sizes = [len(frequencies) for _, frequencies in found]
        return FrozenTables(
            np.array([lowest for lowest, _ in found], np.int32),
            np.cumsum([0, *sizes]).astype(np.int32),
            np.concatenate([frequencies for _, frequencies in found]),
        )

    def bits(self, symbols: NDArray[np.int32]) -> float:
        """−log2 of the probability of (rows, frames) symbols: the coder's ideal length."""
        return float(self.frame_bits(symbols).sum())

    def frame_bits(self, symbols: NDArray[np.int32]) -> NDArray[np.float64]:
        """(frames,) bits of each frame of (rows, frames) symbols, all rows together.

        An escaped symbol costs its escape and 32 raw bits.
        """
        total = np.zeros(symbols.shape[1])
        for index, row in enumerate(symbols):
            lowest, frequencies = self.row(index)
            escape = len(frequencies) - 1
            entries = row.astype(np.int64) - lowest
            outside = (entries < 0) | (entries >= escape)
            entries[outside] = escape
            total += PRECISION - np.log2(frequencies[entries]) + 32.0 * outside
        return total

    def digest(self) -> bytes:
        """Four bytes that name these tables."""
        sha = hashlib.sha256()
        for part in (self.lowest, self.starts, self.frequencies):
            sha.update(part.astype("<i4").tobytes())
        return sha.digest()[:4]
