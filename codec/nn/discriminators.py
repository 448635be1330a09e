"""Discriminators: networks that learn to tell decoded audio from recordings, for training alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SIZES = (2048, 1024, 512, 256, 128)


class STFTDiscriminator(nn.Module):
    """Two-dimensional convolutions over the complex short-time Fourier transform of one size.

    Time is dilated by 1, 2 and 4 and frequency halved three times, so that a value of the output
    judges a patch of the spectrum. Source: Défossez et al., "High fidelity neural audio
    compression", 2022, section 3.4.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.layers = nn.ModuleList([weight_norm(nn.Conv2d(2, width, (3, 9), padding=(1, 4)))])
        for dilation in (1, 2, 4):
            self.layers.append(
                weight_norm(
                    nn.Conv2d(
                        width,
                        width,
                        (3, 9),
                        stride=(1, 2),
                        dilation=(dilation, 1),
                        padding=(dilation, 4),
                    )
                )
            )
        self.layers.append(weight_norm(nn.Conv2d(width, width, 3, padding=1)))
        self.head = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(batch, samples) to judgements (batch, 1, frames, bins / 8) and each layer's output."""
        spectrum = torch.stft(
            waveform.float(),
            self.size,
            self.size // 4,
            window=self.get_buffer("window"),
            normalized=True,
            return_complex=True,
        )
        x = torch.stack((spectrum.real, spectrum.imag), dim=1).transpose(2, 3)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.head(x), features


class MultiScaleSTFTDiscriminator(nn.Module):
    """One ``STFTDiscriminator`` per window size; audio channels are judged one by one."""

    def __init__(self, width: int = 32, sizes: tuple[int, ...] = SIZES) -> None:
        super().__init__()
        self.scales = nn.ModuleList([STFTDiscriminator(size, width) for size in sizes])

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """(batch, channels, samples) to judgements and features, an entry per scale."""
        judged = [scale(waveform.flatten(0, 1)) for scale in self.scales]
        return [judgement for judgement, _ in judged], [features for _, features in judged]


def discriminator_loss(real: list[Tensor], decoded: list[Tensor]) -> Tensor:
    """Hinge loss: judgements of recordings above 1, of decoded audio below -1."""
    losses = [
        F.relu(1 - ours).mean() + F.relu(1 + theirs).mean()
        for ours, theirs in zip(real, decoded, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(decoded: list[Tensor]) -> Tensor:
    """What the decoder is to lower: its audio judged below 1."""
    return torch.stack([F.relu(1 - judgement).mean() for judgement in decoded]).mean()


def feature_matching_loss(real: list[list[Tensor]], decoded: list[list[Tensor]]) -> Tensor:
    """Mean distance of the discriminator's features, each relative to its own mean magnitude.

    Source: Défossez et al., 2022, equation 2.
    """
    losses = [
        (ours.detach() - theirs).abs().mean() / ours.detach().abs().mean().clamp(min=1e-6)
        for scale_real, scale_decoded in zip(real, decoded, strict=True)
        for ours, theirs in zip(scale_real, scale_decoded, strict=True)
    ]
    return torch.stack(losses).mean()
