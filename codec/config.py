"""CodecConfig: everything needed to rebuild a model, and the presets."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class CodecConfig(BaseModel):
    """The architecture of one codec, as data.

    Three architectures share every other part (quantizer, entropy model, bitstream):

    ``transform``
        A lapped transform (MDCT) of two hops, one latent for each of its lowest coefficients in the
        power domain, corrected by the networks of ``spectral`` on either side.
    ``waveform``
        The encoder is a stack of strided convolutions on samples, one per entry of ``strides``,
        each followed by ``encoder_blocks`` residual units; the decoder mirrors it with transposed
        convolutions. ``widths`` holds the channels after each stride.
    ``spectral``
        The encoder looks at a windowed Fourier transform, one frame per ``hop``, through
        ``encoder_blocks`` ConvNeXt blocks of ``widths[0]`` channels; the decoder runs
        ``decoder_blocks`` such blocks and an inverse transform (Siuzdak, "Vocos", 2023).
        All the work is done at frame rate, which is why it is several times as fast.

    With ``gain_bands`` a transform codec's frames have a further symbol for each of so many bands
    of each channel: how much louder it is to be made after decoding, in steps of ``gain_steps`` dB,
    the first at the lowest rate and the second at the highest ones. ``gain_change`` is
    what it costs at the lowest rates if a gain changes, in squared steps: more makes them steadier.

    With ``perceptual_noise`` channels of noise it has a second decoder of the same symbols
    (``codec.nn.perceptual``), and training is of that one alone.

    With ``levels`` above 1 one codec serves as many rates: networks, gains and entropy model are
    told the level, 0 for the lowest rate.

    ``channels`` audio channels are coded jointly, as one latent; a file of more channels has one
    latent per group of that many. Of two quantizers, ``scalar`` makes a symbol of every value of
    the latent; ``residual`` makes ``codebooks`` symbols of every frame, each of them an index into
    a codebook of ``codebook_size`` vectors.

    With ``entropy`` ``factorized`` the symbols of a row have one distribution; with ``context``
    what was coded before decides each symbol's own (``codec.coding.context``, and
    ``index_context`` of a residual quantizer).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    architecture: Literal["transform", "spectral", "waveform"]
    sample_rate: int = Field(ge=8_000, le=192_000)
    channels: int = Field(default=1, ge=1, le=8)
    strides: list[int] = Field(min_length=1)
    widths: list[int] = Field(min_length=1)
    latent_channels: int = Field(ge=1, le=4096)
    encoder_blocks: int = Field(ge=0, le=64)
    decoder_blocks: int = Field(ge=0, le=64)
    kernel: int = Field(default=7, ge=3, le=63)
    window: int = Field(default=0, ge=0)
    power: float = Field(default=0.6, gt=0, le=1)
    gain_bands: int = Field(default=0, ge=0, le=64)
    gain_steps: list[float] = Field(default=[5.0, 5.0], min_length=2, max_length=2)
    gain_change: float = Field(default=0.0, ge=0, le=8)
    perceptual_noise: int = Field(default=0, ge=0, le=256)
    levels: int = Field(default=1, ge=1, le=128)
    entropy: Literal["factorized", "context"] = "factorized"
    quantizer: Literal["scalar", "residual"] = "scalar"
    codebooks: int = Field(default=8, ge=1, le=64)
    codebook_size: int = Field(default=1024, ge=2, le=4096)

    @model_validator(mode="after")
    def _consistent(self) -> "CodecConfig":
        if any(stride < 1 for stride in self.strides):
            raise ValueError(f"strides: every stride is at least 1, not {self.strides}")
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths: every width is at least 1, not {self.widths}")
        if 10 * self.sample_rate % self.hop:
            raise ValueError(
                f"strides: ten seconds at {self.sample_rate} Hz are no whole number of frames of "
                f"{self.hop} samples, and a chunk of a file holds ten seconds"
            )
        if not all(0.5 <= step <= 20 for step in self.gain_steps):
            raise ValueError(f"gain_steps: {self.gain_steps}: steps of gains are 0.5 to 20 dB")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: {self.kernel} is even; only odd kernels keep frames centred")
        if self.architecture == "transform":
            if self.quantizer != "scalar":
                raise ValueError("quantizer: a transform codec has a scalar one")
            if self.latent_channels % self.channels or self.bins > self.hop or self.hop % 2:
                raise ValueError(
                    f"latent_channels: {self.latent_channels} are no equal number, up to "
                    f"{self.hop}, of coefficients for each of {self.channels} channels"
                )
        elif self.gain_bands:
            raise ValueError("gain_bands: only transform codecs have them; leave it 0")
        elif self.levels > 1 and self.architecture == "waveform":
            raise ValueError("levels: a waveform codec has one rate")
        if self.perceptual_noise and not self.gain_bands:
            raise ValueError(
                "perceptual_noise: a second decoder is made as loud as gains of bands say; "
                "give gain_bands, or leave it 0"
            )
        if self.entropy == "context" and self.quantizer == "scalar" and self.values % 8:
            raise ValueError(
                "entropy: a context model of a scalar quantizer wants latents and gains in eights"
            )
        if self.architecture == "waveform":
            if len(self.widths) != len(self.strides):
                raise ValueError(
                    f"widths: {len(self.widths)} widths for {len(self.strides)} strides; "
                    "a waveform codec needs one width per stride"
                )
            if self.window:
                raise ValueError("window: only spectral codecs have one; leave it 0")
        else:
            if len(self.widths) != 1 or len(self.strides) != 1:
                raise ValueError("strides, widths: a spectral codec has one of each")
            if self.window % self.hop or self.window < 2 * self.hop:
                raise ValueError(
                    f"strides: hop {self.hop} does not divide window {self.window} "
                    "into at least two parts"
                )
            if (self.window - self.hop) % 2:
                raise ValueError(
                    "window: window minus hop must be even, so that frames are centred"
                )
        return self

    @property
    def hop(self) -> int:
        """Samples per frame: the product of the strides."""
        return math.prod(self.strides)

    @property
    def values(self) -> int:
        """Values of a frame before quantization: latents, then gains."""
        return self.latent_channels + self.channels * self.gain_bands

    @property
    def bins(self) -> int:
        """Coefficients of each channel, of a transform codec."""
        return self.latent_channels // self.channels

    @property
    def tail(self) -> int:
        """Samples after the end of a signal that are coded with it.

        A transform's frames are centred on their first sample, and the last sample wants two.
        """
        return self.hop if self.architecture == "transform" else 0

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    @property
    def context_frames(self) -> int:
        """Frames on either side that an encoder or decoder output can depend on, at most.

        ``chunks`` gives every window this much margin, which makes its cuts exact.
        """
        reach = self.kernel // 2
        if self.architecture != "waveform":
            blocks = max(self.encoder_blocks, self.decoder_blocks)
            return reach * (blocks + 2) + self.window // self.hop + 2 * bool(self.gain_bands)
        # Counted in samples, from the innermost layer out; the decoder mirrors the encoder, so
        # the larger of the two block counts bounds both.
        blocks = max(self.encoder_blocks, self.decoder_blocks)
        scale, samples = 1, reach
        for stride in self.strides:
            samples += scale * reach
            scale *= stride
            samples += scale * blocks * reach
        return -(-(samples + scale * 2 * reach) // self.hop) + 1

    @property
    def encoder_context_frames(self) -> int:
        """The same of an encoder: gains are measured on what a decoder makes of its latents."""
        return self.context_frames * (2 if self.gain_bands else 1)


PRESETS: dict[str, CodecConfig] = {
    # 50 frames a second at 24 kHz, a latent for each of 480 coefficients, 32 gains.
    "general-24k": CodecConfig(
        architecture="transform",
        sample_rate=24_000,
        strides=[480],
        window=1440,
        widths=[224],
        latent_channels=480,
        gain_bands=32,
        gain_steps=[9.0, 4.0],
        gain_change=0.5,
        encoder_blocks=4,
        decoder_blocks=7,
        levels=128,
        entropy="context",
    ),
    # 50 frames a second of 48 kHz, mid and side to 19.8 kHz in one latent, 40 gains each.
    "general-48k": CodecConfig(
        architecture="transform",
        sample_rate=48_000,
        channels=2,
        strides=[960],
        window=2880,
        widths=[240],
        latent_channels=1584,
        gain_bands=40,
        gain_steps=[11.0, 4.0],
        encoder_blocks=4,
        decoder_blocks=6,
        levels=128,
        entropy="context",
    ),
    # 75 frames a second at 24 kHz; about 4 million parameters.
    "spectral-24k": CodecConfig(
        architecture="spectral",
        sample_rate=24_000,
        strides=[320],
        window=1280,
        widths=[192],
        latent_channels=96,
        encoder_blocks=4,
        decoder_blocks=7,
    ),
    # The same for speech alone: about half the work.
    "speech-24k": CodecConfig(
        architecture="spectral",
        sample_rate=24_000,
        strides=[320],
        window=1280,
        widths=[128],
        latent_channels=64,
        encoder_blocks=4,
        decoder_blocks=6,
    ),
    # 75 frames a second of 48 kHz, left and right in one latent; about 10 million parameters.
    "music-48k": CodecConfig(
        architecture="spectral",
        sample_rate=48_000,
        channels=2,
        strides=[640],
        window=2560,
        widths=[256],
        latent_channels=128,
        encoder_blocks=5,
        decoder_blocks=7,
    ),
    # The codec of the classic description: 48,000 samples -> 6,000 frames of 64 channels.
    "seed-48k": CodecConfig(
        architecture="waveform",
        sample_rate=48_000,
        strides=[2, 2, 2],
        widths=[128, 256, 512],
        latent_channels=64,
        encoder_blocks=1,
        decoder_blocks=1,
    ),
}
