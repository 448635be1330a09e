"""The losses of a codec on a batch, and how each of them reaches the networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from codec.nn.discriminators import (
    JUDGES,
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)
from codec.nn.losses import SpectralDistances
from codec.nn.network import TrainingOutput
from codec.nn.quantizer import commitment_loss
from pipeline.params import Loss


class Objective(nn.Module):
    """L = L_recon + β·L_rate + γ·L_commit.

    L_rate is in kbps, and so means the same for any frame rate, or in bits per sample of one
    channel.

    L_recon is a weighted sum of the terms whose weight in ``loss`` is not 0: distances of decoded
    audio to the original, and, where a discriminator is given, what it says of decoded audio.
    """

    def __init__(
        self, loss: Loss, beta: float | Sequence[float], sample_rate: int, levels: int = 1
    ) -> None:
        super().__init__()
        self.betas, self.gamma, self.levels = by_level(beta, levels), loss.gamma, levels
        self.kbps_per_unit = 1.0 if loss.rate_unit == "kbps" else sample_rate / 1000
        weights = {
            "log_magnitude": loss.log_magnitude,
            "phase": loss.phase,
            "mel": loss.mel,
            "mse": loss.mse,
        }
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.spectral = SpectralDistances(loss.stft_scales, sample_rate, list(self.weights))

    def distances(
        self, reference: Tensor, decoded: Tensor, drawn: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """All distances of positive weight, scalars, of (batch, channels, samples) waveforms.

        ``drawn`` are the window sizes to look at; all by default.
        """
        found = self.spectral(reference, decoded, drawn)
        if "mse" in self.weights:
            found["mse"] = (reference - decoded).square().mean()
        return {name: value for name, value in found.items() if name in self.weights}

    def rest(self, out: TrainingOutput) -> Tensor:
        """β·L_rate + γ·L_commit: the terms that are no distances of waveforms."""
        return self.rate(out) + self.gamma * commitment_loss(out.latent, out.codes)

    def rate(self, out: TrainingOutput) -> Tensor:
        """β·L_rate, each item with the β of its level, in the unit that β goes with."""
        betas = self.betas.to(out.kbps.device)[out.level]
        return (betas * out.kbps).mean() / self.kbps_per_unit

    @torch.no_grad()
    def summary(self, distances: dict[str, Tensor], out: TrainingOutput) -> dict[str, Tensor]:
        """The numbers of a step: distances, ``recon`` (their weighted sum), rate, commitment, L.

        What a discriminator adds to L is not in them. They stay where they were computed: a GPU is
        not waited for.
        """
        found = {name: value.detach() for name, value in distances.items()}
        recon = sum((self.weights[name] * value for name, value in found.items()), torch.zeros(()))
        commitment = commitment_loss(out.latent, out.codes)
        total = recon + self.rate(out) + self.gamma * commitment
        rest = {"kbps": out.kbps.mean(), "commitment": commitment, "total": total}
        return found | {"recon": torch.as_tensor(recon)} | rest


def by_level(beta: float | Sequence[float], levels: int) -> Tensor:
    """(levels,) β: one for all, or from the lowest rate's to the highest rate's in equal ratios."""
    first, last = (beta, beta) if isinstance(beta, float | int) else beta
    if levels == 1 or first == last:
        return torch.full((levels,), float(last))
    return torch.linspace(math.log(first), math.log(last), levels).exp()


@dataclass
class Adversary:
    """Discriminators in training, and the weights of what they say in the codec's loss."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    weights: dict[str, float]

    @classmethod
    def build(
        cls, sample_rate: int, width: int, learning_rate: float, weights: dict[str, float]
    ) -> "Adversary":
        """New discriminators with their optimizer."""
        network = Discriminators(sample_rate, width)
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, betas=(0.8, 0.99))
        return cls(network, optimizer, weights)

    def draw(self, rng: np.random.Generator) -> list[int]:
        """Two of the judges: less than half of the work of asking all of them."""
        return sorted(rng.choice(JUDGES, 2, replace=False).tolist())

    def lesson(
        self, reference: Tensor, decoded: Tensor, drawn: Sequence[int] | None = None
    ) -> Tensor:
        """The own loss of the discriminators that were drawn, on recordings and decoded audio."""
        real, judged = (self.network(one, drawn)[0] for one in (reference, decoded.detach()))
        return discriminator_loss(real, judged)

    def opinion(
        self, reference: Tensor, decoded: Tensor, drawn: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Terms of the codec's loss: decoded audio should be judged as recordings are."""
        # Fabric's wrapper wants to make gradients by itself; none is made for the judges here.
        network = getattr(self.network, "module", self.network)
        with torch.no_grad():
            _, real = network(reference, drawn)
        judged, features = network(decoded, drawn)
        return {
            "adversarial": adversarial_loss(judged),
            "features": feature_matching_loss(real, features),
        }
