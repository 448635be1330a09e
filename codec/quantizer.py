"""Quantizers: latent to symbols and back."""

import torch
from torch import Tensor, nn


class ScalarQuantizer(nn.Module):
    """Round every latent value to the nearest integer.

    In training two versions of the latent leave the quantizer, for two losses:

    - *codes*, rounded, so that the decoder trains on exactly the values that it will meet in use;
      ``straight_through`` carries the gradient of the reconstruction loss past the rounding;
    - *noisy*, with additive uniform noise in [-1/2, 1/2) instead, for the rate loss: the density
      of latent plus noise, read at the integers, is the probability of the rounded symbol, and
      it has a gradient everywhere (Ballé et al., "End-to-end optimized image compression", 2017,
      section 3.1).
    """

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, frames) to codes and noisy, of the same shape."""
        return torch.round(latent).detach(), latent + torch.rand_like(latent) - 0.5

    def quantize(self, latent: Tensor) -> Tensor:
        """Latent to int32 symbols of the same shape."""
        return torch.round(latent).to(torch.int32)

    def dequantize(self, symbols: Tensor) -> Tensor:
        """Int32 symbols to the float latent that the decoder takes."""
        return symbols.to(torch.float32)


def straight_through(latent: Tensor, codes: Tensor) -> Tensor:
    """The value of ``codes`` with the gradient of ``latent``.

    Source: Bengio et al., "Estimating or propagating gradients through stochastic neurons", 2013.
    """
    return latent + (codes - latent).detach()


def commitment_loss(latent: Tensor, codes: Tensor) -> Tensor:
    """‖z − sg[z_q]‖² + ‖sg[z] − z_q‖², the mean over all values.

    ``codes`` are the quantizer's own values, not their straight-through copy: through that copy
    the second term's gradient would reach the latent and cancel the first term's exactly. The
    first term pulls the latent to its codes; the second one moves codes that are learned (a
    codebook), and is constant where they are integers. Source: van den Oord et al., "Neural
    discrete representation learning", 2017, equation 3.
    """
    return (latent - codes.detach()).square().mean() + (latent.detach() - codes).square().mean()
