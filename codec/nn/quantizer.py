"""Quantizers: latent to symbols and back."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.errors import BitstreamError
from codec.nn.priors import CategoricalPrior, ContextPrior, FactorizedPrior, Prior


@dataclass
class Quantized:
    """What a quantizer gives in training."""

    codes: Tensor
    """(batch, latent_channels, frames): the latent as the decoder will see it, no gradient."""
    symbols: Tensor
    """(batch, rows, frames): what would be coded, integers."""
    rated: Tensor
    """The same shape: what the prior's ``bits`` are asked about, to learn from."""


class Quantizer(nn.Module, ABC):
    """What every quantizer answers; another one is a subclass here and its name in ``QUANTIZERS``.

    ``rows`` are the symbols of a frame. With ``layered``, each row refines the ones before it, and
    a file may be cut to its first rows. ``alphabet`` is how many symbols a row has, from 0 on;
    None: all integers that the tables hold.
    """

    rows: int
    layered: bool
    alphabet: int | None

    @abstractmethod
    def prior(self) -> Prior:
        """A new prior for its symbols."""

    @abstractmethod
    def forward(self, latent: Tensor) -> Quantized:
        """(batch, latent_channels, frames) to what trains decoder and prior."""

    @abstractmethod
    def quantize(self, latent: Tensor) -> Tensor:
        """(batch, latent_channels, frames) latent to (batch, rows, frames) int32 symbols."""

    @abstractmethod
    def dequantize(self, symbols: Tensor) -> Tensor:
        """(batch, rows, frames) int32 symbols to the float latent that the decoder takes.

        Raises BitstreamError for symbols that it cannot have made.
        """


class ScalarQuantizer(Quantizer):
    """Round every latent value to the nearest integer.

    In training two versions of the latent leave the quantizer, for two losses:

    - *codes*, rounded, so that the decoder trains on exactly the values that it will meet in use;
      ``straight_through`` carries the gradient of the reconstruction loss past the rounding;
    - *rated*, with additive uniform noise in [-1/2, 1/2) instead, for the rate loss: the density
      of latent plus noise, read at the integers, is the probability of the rounded symbol, and
      it has a gradient everywhere (Ballé et al., "End-to-end optimized image compression", 2017,
      section 3.1).
    """

    layered, alphabet = False, None

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.rows, self.levels = config.values, config.levels
        self.entropy = config.entropy

    def prior(self) -> Prior:
        if self.entropy == "context":
            return ContextPrior(self.rows, self.levels)
        return FactorizedPrior(self.rows, self.levels)

    def forward(self, latent: Tensor) -> Quantized:
        """(batch, channels, frames) to codes and rated, both of the same shape."""
        codes = torch.round(latent).detach()
        return Quantized(codes, codes, latent + torch.rand_like(latent) - 0.5)

    def quantize(self, latent: Tensor) -> Tensor:
        return torch.round(latent).to(torch.int32)

    def dequantize(self, symbols: Tensor) -> Tensor:
        return symbols.to(torch.float32)


class ResidualVectorQuantizer(Quantizer):
    """A sum of vectors, one of each codebook; each codebook codes what the ones before left over.

    Codebooks are not trained by gradient: k-means on the first training batch starts them, moving
    averages of the vectors assigned to each entry carry them on, and entries that hardly any
    vector chooses are put where vectors are. In training some items of a batch get the first few
    codebooks only, so that every number of them is a codec (quantizer dropout). Nearest entries
    have no gradient, so the rate loss trains the prior alone and beta does not move the encoder:
    the rate is chosen by the number of codebooks. Source: Zeghidour et al., "SoundStream", 2021,
    section III-C.
    """

    DECAY = 0.99
    """Of the moving averages, per step."""
    KMEANS_ROUNDS = 10
    DEAD_SHARE = 0.02
    """An entry is dead below this share of the assignments that all entries have on average. One
    that is put elsewhere starts with twice as much: it then soon moves to the vectors that choose
    it, or dies again and is tried in another place."""
    DROPOUT = 0.5
    """The share of a batch's items that get fewer codebooks than there are."""

    layered = True
    vectors: Tensor
    counts: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        codebooks, size, channels = config.codebooks, config.codebook_size, config.latent_channels
        self.rows, self.alphabet = codebooks, size
        # Random entries already code something; the first training batch replaces them.
        start = torch.randn(codebooks, size, channels)
        self.register_buffer("vectors", start * 0.5 ** torch.arange(codebooks)[:, None, None])
        self.register_buffer("counts", torch.zeros(codebooks, size))

    def prior(self) -> Prior:
        return CategoricalPrior(*self.vectors.shape[:2])

    @torch.no_grad()
    def forward(self, latent: Tensor) -> Quantized:
        """(batch, channels, frames) to codes of that shape and (batch, codebooks, frames) rated.

        In training mode the codebooks learn from the latent.
        """
        batch, _, frames = latent.shape
        residual = _as_vectors(latent)
        if self.training and not self.counts.any():
            self._start(residual)
        used = self._used(batch, latent.device).repeat_interleave(frames)
        total, indices = torch.zeros_like(residual), []
        for codebook in range(len(self.vectors)):
            index = self._nearest(codebook, residual)
            chosen = self.vectors[codebook][index]
            if self.training:
                self._learn(codebook, residual, index)
            total += chosen * (codebook < used)[:, None]
            residual = residual - chosen
            indices.append(index.reshape(batch, frames))
        codes = total.reshape(batch, frames, -1).transpose(1, 2)
        found = torch.stack(indices, dim=1)
        return Quantized(codes, found, found)

    @torch.no_grad()
    def quantize(self, latent: Tensor) -> Tensor:
        """(batch, channels, frames) latent to (batch, codebooks, frames) int32 indices."""
        batch, _, frames = latent.shape
        residual, indices = _as_vectors(latent), []
        for codebook, vectors in enumerate(self.vectors):
            index = self._nearest(codebook, residual)
            residual = residual - vectors[index]
            indices.append(index.reshape(batch, frames))
        return torch.stack(indices, dim=1).to(torch.int32)

    def dequantize(self, symbols: Tensor) -> Tensor:
        """(batch, up to codebooks, frames) indices to the latent that the decoder takes.

        Raises BitstreamError for an index that no codebook has.
        """
        if symbols.min() < 0 or symbols.max() >= self.vectors.shape[1]:
            raise BitstreamError(f"a symbol is no index of a codebook of {self.vectors.shape[1]}")
        parts = [self.vectors[k][symbols[:, k].long()] for k in range(symbols.shape[1])]
        return torch.stack(parts).sum(dim=0).transpose(1, 2)

    def _nearest(self, codebook: int, residual: Tensor) -> Tensor:
        """(n, channels) to the index of the nearest entry of each, (n,)."""
        vectors = self.vectors[codebook]
        # |r − v|² but for |r|², which is the same for all entries.
        return (vectors.square().sum(dim=1) - 2 * residual @ vectors.T).argmin(dim=1)

    def _used(self, batch: int, device: torch.device) -> Tensor:
        """How many codebooks each item of the batch gets: all of them, or in training fewer."""
        codebooks = len(self.vectors)
        used = torch.full((batch,), codebooks, device=device)
        if self.training:
            fewer = torch.randint(1, codebooks + 1, (batch,), device=device)
            used = torch.where(torch.rand(batch, device=device) < self.DROPOUT, fewer, used)
        return used

    def _start(self, residual: Tensor) -> None:
        """Put the entries of every codebook at the means of clusters of (n, channels) vectors."""
        size = self.vectors.shape[1]
        for codebook in range(len(self.vectors)):
            drawn = torch.randint(len(residual), (size,), device=residual.device)
            if len(residual) >= size:
                drawn = torch.randperm(len(residual), device=residual.device)[:size]
            self.vectors[codebook] = residual[drawn]
            for _ in range(self.KMEANS_ROUNDS):
                index = self._nearest(codebook, residual)
                count, means = self._clusters(residual, index)
                found = count > 0
                self.vectors[codebook][found] = means[found]
            self.counts[codebook] = count
            residual = residual - self.vectors[codebook][self._nearest(codebook, residual)]

    def _learn(self, codebook: int, residual: Tensor, index: Tensor) -> None:
        """Move the entries towards the vectors that chose them; bring dead ones back to life."""
        count, means = self._clusters(residual, index)
        weight = (1 - self.DECAY) * count
        self.counts[codebook].mul_(self.DECAY).add_(weight)
        step = weight / self.counts[codebook].clamp(min=1e-9)
        self.vectors[codebook].lerp_(means, step[:, None])
        alive = self.DEAD_SHARE * len(residual) / self.vectors.shape[1]
        dead = self.counts[codebook] < alive
        drawn = torch.randint(len(residual), (int(dead.sum()),), device=residual.device)
        self.vectors[codebook][dead] = residual[drawn]
        self.counts[codebook][dead] = 2 * alive

    def _clusters(self, residual: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """How many vectors chose each entry, (size,), and their means, (size, channels)."""
        count = torch.bincount(index, minlength=self.vectors.shape[1]).to(residual.dtype)
        sums = torch.zeros_like(self.vectors[0]).index_add_(0, index, residual)
        if torch.distributed.is_initialized():
            # Processes that train together learn one codebook.
            torch.distributed.all_reduce(count)
            torch.distributed.all_reduce(sums)
        return count, sums / count.clamp(min=1)[:, None]


QUANTIZERS: dict[str, Callable[[CodecConfig], Quantizer]] = {
    "scalar": ScalarQuantizer,
    "residual": ResidualVectorQuantizer,
}


def build_quantizer(config: CodecConfig) -> Quantizer:
    """The quantizer that ``config`` names."""
    return QUANTIZERS[config.quantizer](config)


def straight_through(latent: Tensor, codes: Tensor) -> Tensor:
    """The value of ``codes`` with the gradient of ``latent``.

    Source: Bengio et al., "Estimating or propagating gradients through stochastic neurons", 2013.
    """
    return codes + (latent - latent.detach())


def commitment_loss(latent: Tensor, codes: Tensor) -> Tensor:
    """‖z − sg[z_q]‖² + ‖sg[z] − z_q‖², the mean over all values.

    ``codes`` are the quantizer's own values, not their straight-through copy: through that copy
    the second term's gradient would reach the latent and cancel the first term's exactly. The
    first term pulls the latent to its codes; the second one would move codes that learn by
    gradient, and is constant for the quantizers here: integers, and codebooks that follow moving
    averages. Source: van den Oord et al., "Neural discrete representation learning", 2017,
    equation 3.
    """
    return (latent - codes.detach()).square().mean() + (latent.detach() - codes).square().mean()


def _as_vectors(latent: Tensor) -> Tensor:
    """(batch, channels, frames) to (batch · frames, channels), without gradient."""
    return latent.detach().transpose(1, 2).reshape(-1, latent.shape[1])
