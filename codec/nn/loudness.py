"""The loudness of bands, made right after decoding.

Networks that minimise distances leave bands too quiet where they are unsure, now in one frame, now
in another, and that is what is heard first: of speech at 6 kbps, band energies made right move
ViSQOL by more than a point, and right phases by a quarter of one. So they are sent: a decoded band
is compared with the band that it should be, and the difference in decibels is one more row of
symbols. The idea is that of gains and scale factors in classical codecs (ISO/IEC 14496-3, section
4.6.2), here on what has been decoded.

A gain makes nothing of a band in which nothing was coded. Such a band repeats what was decoded
further down, as loud as the gain asks for, as Opus folds bands that got no pulses (Valin et al.,
"High-quality, low-delay music coding in the Opus codec", AES convention 135, 2013) and MPEG-4
replicates them. Nothing is random in it, so pieces of a file decode as the whole does.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.nn.layers import by_pieces, overlap_add, real_fft
from codec.nn.transform import ChannelRotation

LIMIT_DB = 30.0
LOUDEST = 100.0
"""Factor by which what is made as loud as something else is amplified at most."""
FLOOR = 1e-9
"""Mean square below which sound counts as silence: -90 dB."""
MASKED = 1e-6
"""What is this much of a frame's loudest band counts as inaudible beside it: -60 dB."""
SILENT = 1e-12
"""Nor is anything coded that is this much of full scale: -120 dB. Recordings may be soft, and
pauses are not silent."""
FOLDED = (1_000.0, 4_000.0)
"""Hz: what bands above repeat where nothing was coded in them."""
BLOCK = 50
"""Frames that are rounded as one."""
PER_STEP = 0.3
"""Of what a changed gain costs, for each step of the change once more."""
FINEST_FROM = 0.8
"""Share of the rate levels from which on steps are the finest; they get finer up to there."""
STEADY = (0.22, 0.41)
"""Shares of the rate levels up to which a change costs all of it, and from which on nothing."""


class BandLoudness(nn.Module):
    """Gains of ``bands`` bands of equal width on the ear's scale, one for each frame of two hops.

    Frame m is centred on sample m · hop. Audio channels are taken as mean and differences
    (``ChannelRotation``). Source of the scale (ERB): Glasberg and Moore, "Derivation of auditory
    filter shapes from notched-noise data", 1990.
    """

    window: Tensor
    members: Tensor
    source: Tensor
    signs: Tensor

    def __init__(self, channels: int, sample_rate: int, hop: int, bands: int) -> None:
        super().__init__()
        self.hop = hop
        self.rotation = ChannelRotation(channels)
        sample = torch.arange(2 * hop, dtype=torch.float64)
        window = torch.sin(math.pi * (sample + 0.5) / (2 * hop))
        self.register_buffer("window", window.float(), persistent=False)
        members = band_members(sample_rate, 2 * hop, bands)
        self.register_buffer("members", members.float(), persistent=False)
        source, signs = folding(sample_rate, hop)
        self.register_buffer("source", source, persistent=False)
        self.register_buffer("signs", signs, persistent=False)

    def energies(self, waveform: Tensor) -> Tensor:
        """(batch, channels, frames · hop) to (batch, channels, frames, bands)."""
        frames = self._frames(waveform)
        return by_pieces(lambda piece: self._energies(self._spectra(piece)), frames)

    def measure(self, wanted: Tensor, decoded: Tensor) -> Tensor:
        """``energies`` of an original, and what was decoded of it, to the gains that this wants.

        They are (batch, channels · bands, frames), in dB.
        """
        found = self.energies(decoded)
        floor = FLOOR * self.hop + MASKED * wanted.amax(dim=(1, 3), keepdim=True)
        gains = 10 * torch.log10((wanted + floor) / (found + floor))
        return gains.clamp(-LIMIT_DB, LIMIT_DB).transpose(2, 3).flatten(1, 2)

    def audible(self, energies: Tensor, bins: int) -> Tensor:
        """``energies`` of an original to where something is heard of it.

        It is (batch, channels · bins, frames), ones and zeros, for the lowest ``bins`` coefficients
        of a lapped transform of frames of two hops. What is loud in a frame is heard in the ones
        before and after, too, with which it shares samples.
        """
        energies = F.max_pool2d(energies, (3, 1), 1, (1, 0))
        floor = SILENT * self.hop + MASKED * energies.amax(dim=(1, 3), keepdim=True)
        # Coefficient k lies between the Fourier transform's bins k and k + 1.
        band = self.members.argmax(dim=0)[1 : bins + 1]
        return (energies > floor)[..., band].float().transpose(2, 3).flatten(1, 2)

    def adjust(self, decoded: Tensor, gains: Tensor) -> Tensor:
        """(batch, channels, frames · hop) with its bands as much louder as the gains say, in dB.

        What takes the place of bands in which nothing was coded has no gradient.
        """
        decibels = gains.unflatten(1, (decoded.shape[1], -1)).transpose(2, 3)
        return self._by_frame(self._adjusted, decoded, (decibels * (math.log(10) / 20)).exp())

    def matched(self, decoded: Tensor, energies: Tensor) -> Tensor:
        """(batch, channels, frames · hop) with each band as loud as ``energies`` of another say."""
        return self._by_frame(self._matched, decoded, energies)

    def _matched(self, frames: Tensor, energies: Tensor) -> Tensor:
        """(…, frames, 2 · hop) samples made as loud as (…, frames, bands), windowed once more."""
        spectrum = self._spectra(frames)
        least = SILENT * self.hop
        gain = ((energies + least) / (self._energies(spectrum) + least)).sqrt().clamp(max=LOUDEST)
        return torch.fft.irfft(spectrum * (gain @ self.members), n=2 * self.hop) * self.window

    def _by_frame(
        self, change: Callable[[Tensor, Tensor], Tensor], waveform: Tensor, values: Tensor
    ) -> Tensor:
        """A waveform whose frames went through ``change`` with their (…, frames, bands) values."""
        # What the last frame says is true to the end.
        values = torch.cat((values, values[:, :, -1:]), dim=2)
        frames = by_pieces(change, self._frames(F.pad(waveform, (0, self.hop))), values)
        half = self.hop // 2
        whole = overlap_add(frames, self.hop)[..., half : half + waveform.shape[-1]]
        return self.rotation.inverse(whole)

    def _adjusted(self, frames: Tensor, gain: Tensor) -> Tensor:
        """(…, frames, 2 · hop) samples, times a (…, frames, bands) gain, windowed once more."""
        spectrum = self._spectra(frames)
        own, folded = self._filled(spectrum.detach(), gain.detach().square())
        spectrum = spectrum * ((gain * own) @ self.members) + folded
        return torch.fft.irfft(spectrum, n=2 * self.hop) * self.window

    def _filled(self, spectrum: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of each band's amplitude, 0 to 1, and a spectrum to be added to it.

        Of a (…, frames, bins) spectrum and the (…, frames, bands) powers of its gains. A band is
        empty by as much as it is below the floor that ``measure`` had; all of it is continuous,
        so that what is near to a limit hangs on no last digit.
        """
        found = self._energies(spectrum)
        floor = FLOOR * self.hop + MASKED * (found * power).amax(dim=(1, 3), keepdim=True)
        empty = (1 - found / floor).clamp(min=0) * (power > 1)
        wanted = ((found + floor) * power - floor).clamp(min=0) * empty
        carrier = spectrum[..., self.source] * self.signs
        amplitude = (wanted / torch.maximum(self._energies(carrier), floor)).sqrt()
        return (1 - empty).sqrt(), carrier * (amplitude @ self.members)

    def _frames(self, waveform: Tensor) -> Tensor:
        """(batch, channels, frames · hop) to (batch, channels, frames, 2 · hop)."""
        rotated = F.pad(self.rotation(waveform.float()), (self.hop, 0))
        return rotated.unfold(-1, 2 * self.hop, self.hop)

    def _spectra(self, frames: Tensor) -> Tensor:
        """(…, 2 · hop) samples to (…, bins)."""
        return real_fft(frames * self.window)

    def _energies(self, spectra: Tensor) -> Tensor:
        """(…, bins) to mean squares, times the hop, of (…, bands)."""
        power = spectra.real.square() + spectra.imag.square()
        return power @ self.members.T / self.hop


def step_db(steps: Sequence[float], level: Tensor, levels: int) -> Tensor:
    """(batch,) levels to the step of gains of each: one of the two ``steps``, or between them.

    What is decoded at a high rate is near enough that finer gains are heard, and pay; at a low rate
    their bits are better spent on what is decoded.
    """
    coarsest, finest = steps
    return coarsest * (finest / coarsest) ** _passed((0.0, FINEST_FROM), level, levels)


def change_cost(highest: float, level: Tensor, levels: int) -> Tensor:
    """(batch,) levels to what a changed gain costs each of them, in squared steps."""
    return highest * (1 - _passed(STEADY, level, levels))


def _passed(shares: tuple[float, float], level: Tensor, levels: int) -> Tensor:
    """How far (batch,) levels are from one share of all to the other, 0 to 1."""
    share = level.float() / (levels - 1) if levels > 1 else torch.ones(level.shape)
    return ((share - shares[0]) / (shares[1] - shares[0])).clamp(0, 1)


def rounded(gains: Tensor, cost: Tensor) -> Tensor:
    """(batch, rows, frames) gains in steps to whole ones, which change where that is worth it.

    What each gain is off by, squared, plus ``cost`` (batch,) for each change, is least in each
    block of ``BLOCK`` frames: a trellis, searched as by Forney, "The Viterbi algorithm", 1973.
    """
    frames = gains.shape[-1]
    if not cost.any():
        return gains.round()
    limit = math.ceil(gains.detach().abs().max())
    states = torch.arange(-limit, limit + 1.0, device=gains.device)
    distance = F.pad((gains[..., None] - states).square(), (0, 0, 0, -frames % BLOCK))
    distance = distance.unflatten(2, (-1, BLOCK))
    apart = (states[:, None] - states).abs()
    change = cost.view(-1, 1, 1, 1, 1) * ((apart > 0) + PER_STEP * apart)
    path, origins = distance[..., 0, :], []
    for frame in range(1, BLOCK):
        path, origin = (path[..., :, None] + change).min(dim=-2)
        path = path + distance[..., frame, :]
        origins.append(origin)
    chosen = [path.argmin(dim=-1, keepdim=True)]
    for origin in reversed(origins):
        chosen.append(origin.gather(-1, chosen[-1]))
    return states[torch.cat(chosen[::-1], dim=-1)].flatten(2)[..., :frames]


def folding(sample_rate: int, hop: int) -> tuple[Tensor, Tensor]:
    """For each of hop + 1 bins the bin that it repeats, and a sign: (bins,) twice.

    Bins move by even numbers, which keeps the phases of frames half of their length apart in step;
    the signs keep the copy from sounding like what it is a copy of.
    """
    low, high = (2 * max(1, round(hertz * hop / sample_rate)) for hertz in FOLDED)
    bins = torch.arange(hop + 1)
    source = torch.where(bins < high, bins, low + (bins - low) % max(2, high - low))
    golden = (bins * ((math.sqrt(5) - 1) / 2)) % 1
    return source.clamp(max=hop), torch.where(golden < 0.5, 1.0, -1.0)


def band_members(sample_rate: int, size: int, bands: int) -> Tensor:
    """(bands, size / 2 + 1): ones where a bin belongs to a band; every bin has one band."""
    hertz = torch.linspace(0, sample_rate / 2, size // 2 + 1, dtype=torch.float64)
    scale = torch.log10(1 + 0.00437 * hertz)
    # A band has a bin at least; the lowest ones may be wider than their share.
    band, found = torch.zeros(len(hertz), dtype=torch.long), 0
    for index in range(1, len(hertz)):
        due = math.floor(float(scale[index] / scale[-1]) * bands)
        found = min(found + (due > found), bands - 1)
        band[index] = found
    if found < bands - 1:
        raise ValueError(f"{bands} bands of {len(hertz)} bins: too many")
    return F.one_hot(band, bands).T
