"""Discriminators: networks that learn to tell decoded audio from recordings, for training alone."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.nn.layers import real_fft
from codec.nn.losses import mel_filters, window_factor

SIZES = (2048, 1024, 512, 256)
"""Windows of the Fourier transforms at 24 kHz; at other rates those of the same duration."""
JUDGES = len(SIZES) + 1
MEL_SIZE, MEL_BANDS = 1024, 80
FLOOR = 1e-3
"""Magnitude below which a spectrum counts as empty: 60 dB below that of noise of variance 1."""
COMPRESSED = 0.4
"""Power of magnitudes that is looked at, so that soft and high sounds are told apart, too."""


class PatchDiscriminator(nn.Module):
    """Two-dimensional convolutions over a picture of audio, whose output judges patches of it.

    (batch, inputs, frames, bins) to judgements (batch, 1, frames, bins / 16) and each layer's
    output. Time is dilated by 1, 1, 2 and 4 and frequency halved four times. Source: Défossez et
    al., "High fidelity neural audio compression", 2022, section 3.4.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for outputs, dilation in ((-(-width // 2), 1), (width, 1), (width, 2), (width, 4)):
            self.layers.append(
                weight_norm(
                    nn.Conv2d(
                        inputs,
                        outputs,
                        (3, 9),
                        stride=(1, 2),
                        dilation=(dilation, 1),
                        padding=(dilation, 4),
                    )
                )
            )
            inputs = outputs
        self.layers.append(weight_norm(nn.Conv2d(width, width, 3, padding=1)))
        self.head = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = picture, []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x.float())
        return self.head(x).float(), features


class STFTDiscriminator(nn.Module):
    """A ``PatchDiscriminator`` of complex spectra with compressed magnitudes, and their logarithm.

    (batch, samples) waveforms. Windows overlap by half.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(3, width)
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectrum = spectra(waveform, self.get_buffer("window"))
        magnitude = (spectrum.real.square() + spectrum.imag.square() + FLOOR**2).sqrt()
        compressed = torch.view_as_real(spectrum).movedim(-1, 1) * magnitude[:, None] ** (
            COMPRESSED - 1
        )
        loudness = magnitude.log()[:, None] / 4 + 1
        judged: tuple[Tensor, list[Tensor]] = self.patches(torch.cat((compressed, loudness), dim=1))
        return judged


class MelDiscriminator(nn.Module):
    """A ``PatchDiscriminator`` of logarithmic mel spectra: what voices are told by.

    (batch, samples) waveforms.
    """

    def __init__(self, sample_rate: int, size: int, bands: int, width: int) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(1, width)
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.register_buffer("filters", mel_filters(sample_rate, size, bands).T, persistent=False)

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectrum = spectra(waveform, self.get_buffer("window"))
        power = spectrum.real.square() + spectrum.imag.square()
        loudness = (power @ self.get_buffer("filters") + FLOOR**2).log()[:, None] / 8 + 1
        judged: tuple[Tensor, list[Tensor]] = self.patches(loudness)
        return judged


class Discriminators(nn.Module):
    """An ``STFTDiscriminator`` per window size and a ``MelDiscriminator``.

    Audio channels are judged one by one.
    """

    def __init__(self, sample_rate: int, width: int = 32) -> None:
        super().__init__()
        factor = window_factor(sample_rate)
        self.judges = nn.ModuleList([STFTDiscriminator(factor * size, width) for size in SIZES])
        self.judges.append(MelDiscriminator(sample_rate, factor * MEL_SIZE, MEL_BANDS, width))

    def forward(
        self, waveform: Tensor, drawn: Sequence[int] | None = None
    ) -> tuple[list[Tensor], list[list[Tensor]]]:
        """(batch, channels, samples) to judgements and features, an entry per judge.

        ``drawn`` are the judges that are asked; all by default.
        """
        asked = range(len(self.judges)) if drawn is None else drawn
        judged = [self.judges[index](waveform.flatten(0, 1)) for index in asked]
        return [judgement for judgement, _ in judged], [features for _, features in judged]


def spectra(waveform: Tensor, window: Tensor) -> Tensor:
    """(batch, samples) to complex (batch, frames, bins); of noise of variance 1, about 1 each."""
    half = len(window) // 2
    frames = F.pad(waveform.float(), (half, half)).unfold(-1, 2 * half, half)
    return real_fft(frames * window) / window.square().sum().sqrt()


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
    """Mean distance of the discriminators' features, each relative to its own mean magnitude.

    Source: Défossez et al., 2022, equation 2.
    """
    losses = [
        (ours.detach() - theirs).abs().mean() / ours.detach().abs().mean().clamp(min=1e-6)
        for scale_real, scale_decoded in zip(real, decoded, strict=True)
        for ours, theirs in zip(scale_real, scale_decoded, strict=True)
    ]
    return torch.stack(losses).mean()
