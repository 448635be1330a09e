"""Factorized priors: probabilities of symbols in training, integer tables once frozen."""

import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from codec.coding.tables import MAX_SYMBOL, FrozenTables
from codec.nn.layers import ByLevel


class FactorizedPrior(nn.Module):
    """p(z) = Π p_c(z[c, m]): one learned density per channel, the same for every frame.

    Each channel has a small network that is increasing by construction, and whose output through
    a sigmoid is the cumulative distribution. With ``levels`` of rate, each level has the same
    densities, wider or narrower. Source: Ballé et al., "Variational image compression
    with a scale hyperprior", 2018, appendix 6.1.
    """

    def __init__(self, channels: int, levels: int = 1, layers: tuple[int, ...] = (3, 3, 3)) -> None:
        super().__init__()
        self.channels, self.levels = channels, levels
        self.width = ByLevel(levels, channels) if levels > 1 else None
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

    def bits(
        self, latent: Tensor, symbols: Tensor | None = None, level: Tensor | None = None
    ) -> Tensor:
        """−log2 of the mass in [v − 1/2, v + 1/2) around each value v, shape of ``latent``.

        ``latent`` is (batch, channels, frames), integers or noisy; ``symbols``, the integers, are
        not asked; ``level`` is (batch,). Never above 30 bits a value: the floor keeps the gradient
        finite for values that the prior rules out.
        """
        batch, channels, frames = latent.shape
        lower, upper = latent - 0.5, latent + 0.5
        if self.width is not None:
            factor = self.width(level).exp()[:, :, None]
            lower, upper = lower * factor, upper * factor
        lower, upper = (
            self._logits(edge.transpose(0, 1).reshape(channels, 1, batch * frames))
            for edge in (lower, upper)
        )
        # Both logits on the negative side, where the sigmoid keeps its precision.
        sign = -torch.sign(lower + upper).detach()
        mass = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
        bits = -torch.log2(torch.clamp(mass, min=2.0**-30))
        return bits.reshape(channels, batch, frames).transpose(0, 1)

    @torch.no_grad()
    def freeze(self) -> "FrozenTables":
        """The prior as integer tables, computed once, in double precision, on the CPU."""
        prior = FactorizedPrior(
            self.channels, self.levels, tuple(gate.shape[1] for gate in self.gates)
        )
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

    def bits(
        self, indices: Tensor, symbols: Tensor | None = None, level: Tensor | None = None
    ) -> Tensor:
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
        return FrozenTables.from_masses(self.masses(), lowest=0)

    @torch.no_grad()
    def masses(self) -> NDArray[np.float64]:
        """(codebooks, size) probabilities, in double precision."""
        return np.asarray(F.softmax(self.logits.double().cpu(), dim=1).numpy())


class ContextPrior(nn.Module):
    """p(z) = Π p(z[c, m] | frames before m, channels before c): what a context model trains as.

    Channels are coded in ``GROUPS`` groups, each of them every eighth channel. A shared layer looks
    at two past frames and at moving averages of magnitudes; each group's own layer at that and at
    the groups before it in its frame; what comes out are mean and scale of a logistic distribution
    for each channel. The rate level moves the biases. All inputs are small integers or sixteenths
    and activations are bounded, so that ``codec.coding.context`` can do the same in integers.
    """

    GROUPS, HIDDEN, GROUP_HIDDEN = 8, 256, 64
    TURNS = (0, 4, 2, 6, 1, 5, 3, 7)
    """Which every eighth channel each group takes."""
    BAND = 8
    """Neighbouring channels whose magnitudes are averaged together."""
    CLIP = 8.0
    FAST, SLOW = 3, (4, 6)
    """Moving averages forget 2^-shift of themselves a frame: by channel, and by band."""
    CEILING = 127 / 16
    LOG_SCALES = (-6.0, 4.0)

    order: Tensor

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        if channels % self.GROUPS or channels % self.BAND:
            raise ValueError(f"{channels} channels are no whole number of groups of {self.GROUPS}")
        self.channels, self.bands = channels, channels // self.BAND
        size = channels // self.GROUPS
        inputs = 7 * channels + len(self.SLOW) * self.bands
        # Neighbours in frequency are in different groups: later ones see them in their own frame.
        turns = torch.arange(channels) % self.GROUPS
        order = torch.cat([(turns == turn).nonzero()[:, 0] for turn in self.TURNS])
        self.register_buffer("order", order)
        self.shared = nn.Linear(inputs, self.HIDDEN, bias=False)
        self.shared_bias = ByLevel(levels, self.HIDDEN)
        self.start = ByLevel(levels, self.bands)
        self.group = nn.Linear(self.HIDDEN, self.GROUPS * self.GROUP_HIDDEN, bias=False)
        self.inside = nn.Linear(3 * channels, self.GROUPS * self.GROUP_HIDDEN, bias=False)
        self.group_bias = ByLevel(levels, self.GROUPS * self.GROUP_HIDDEN)
        self.out = nn.Parameter(torch.zeros(self.GROUPS, self.GROUP_HIDDEN, 2 * size))
        # Until it has learned: zeros are likely, whatever came before.
        first = torch.cat((torch.zeros(size), torch.full((size,), -1.0)))
        self.out_bias = nn.Parameter(first.expand(self.GROUPS, -1).clone())
        with torch.no_grad():
            self.start.knots.fill_(-3.0)
            for layer in (self.shared, self.inside):
                layer.weight.mul_(0.5)

    def forward(self, symbols: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, frames) integers and (batch,) levels to mean and ln scale of each."""
        now = self._features(symbols)
        past = torch.cat(
            [*(shifted(now, 1)), *(shifted(now, 2)), *self._averages(now[2], level)], dim=1
        ).transpose(1, 2)
        hidden = F.linear(past, self.shared.weight) + self.shared_bias(level)[:, None]
        hidden = F.relu(hidden).clamp(max=self.CEILING)
        seen = torch.cat(now, dim=1).transpose(1, 2)
        inner = self.group(hidden) + F.linear(seen, self.inside.weight * self._earlier())
        inner = F.relu(inner + self.group_bias(level)[:, None]).clamp(max=self.CEILING)
        inner = inner.unflatten(-1, (self.GROUPS, -1))
        out = torch.einsum("btgk,gkc->btgc", inner, self.out) + self.out_bias
        mean, log_scale = out.float().chunk(2, dim=-1)
        place = self.order.argsort()
        mean, log_scale = (one.flatten(2)[..., place].transpose(1, 2) for one in (mean, log_scale))
        return mean, log_scale.clamp(*self.LOG_SCALES)

    def bits(self, values: Tensor, symbols: Tensor, level: Tensor) -> Tensor:
        """−log2 of the mass in [v − 1/2, v + 1/2) around each value, given integer ``symbols``.

        ``values`` are the symbols, or the latent with noise in their place. Never above 30 bits.
        """
        mean, log_scale = self(symbols, level)
        distance = (values - mean).abs()
        inverse = torch.exp(-log_scale)
        # Both arguments on the negative side, where the sigmoid keeps its precision.
        upper = torch.sigmoid((0.5 - distance) * inverse)
        lower = torch.sigmoid((-0.5 - distance) * inverse)
        return -torch.log2(torch.clamp(upper - lower, min=2.0**-30))

    def arrays(self, levels: int) -> dict[str, NDArray[np.float32]]:
        """What the integer form is made of; ``codec.coding.context`` names each of them."""
        every = torch.arange(levels, device=self.order.device)
        shape = (self.GROUPS, self.GROUP_HIDDEN, -1)
        with torch.no_grad():
            found = {
                "order": self.order,
                "W1": self.shared.weight,
                "B1": self.shared_bias(every),
                "start": F.softplus(self.start(every)),
                "U": self.group.weight.reshape(shape),
                "V": (self.inside.weight * self._earlier()).reshape(shape),
                "b": self.group_bias(every).unflatten(1, (self.GROUPS, -1)),
                "O": self.out.transpose(1, 2),
                "o": self.out_bias,
            }
        return {name: value.detach().cpu().float().numpy() for name, value in found.items()}

    def _features(self, symbols: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        magnitude = symbols.abs()
        clip = self.CLIP
        return symbols.clamp(-clip, clip), magnitude.clamp(max=1), magnitude.clamp(max=clip)

    def _averages(self, magnitude: Tensor, level: Tensor) -> list[Tensor]:
        """Moving averages of the frames before each frame: by channel, then by band."""
        bands = magnitude.unflatten(1, (self.bands, self.BAND)).mean(dim=2)
        start = F.softplus(self.start(level))
        zero = magnitude.new_zeros(())
        return [
            moving_average(magnitude, self.FAST, zero),
            *(moving_average(bands, shift, start[:, :, None]) for shift in self.SLOW),
        ]

    def _earlier(self) -> Tensor:
        """(groups · hidden, 3 · channels): which channels a group may see of its own frame."""
        size = self.channels // self.GROUPS
        group = torch.empty_like(self.order)
        group[self.order] = torch.arange(self.channels, device=group.device) // size
        own = torch.arange(self.GROUPS, device=group.device).repeat_interleave(self.GROUP_HIDDEN)
        return (group[None] < own[:, None]).float().repeat(1, 3)


def shifted(features: tuple[Tensor, ...], frames: int) -> list[Tensor]:
    """Each of (batch, channels, frames) as it was so many frames before, zeros at first."""
    return [F.pad(one, (frames, 0))[..., : one.shape[-1]] for one in features]


def moving_average(values: Tensor, shift: int, start: Tensor) -> Tensor:
    """s of the frames before each frame, where s += (v − s) · 2^-shift, from ``start`` on."""
    frames = values.shape[-1]
    keep = 1 - 2.0**-shift
    lag = torch.arange(frames, device=values.device, dtype=torch.float64)
    ages = lag[None] - lag[:, None] - 1  # [frame that is averaged, frame that looks back]
    weights = torch.where(ages >= 0, 2.0**-shift * keep ** ages.clamp(min=0), 0.0)
    return values @ weights.to(values.dtype) + start * (keep**lag).to(values.dtype)


Prior = FactorizedPrior | CategoricalPrior | ContextPrior
