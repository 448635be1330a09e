"""AudioCodec: encoder, quantizer, entropy model and decoder as one thing."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codec import audio, bitstream, range_coder
from codec.chunks import decode_latent, encode_latent
from codec.config import CodecConfig
from codec.decoder import build_decoder
from codec.encoder import build_encoder
from codec.entropy_model import FactorizedPrior, FrozenTables
from codec.errors import AudioError, BitstreamError, UserError
from codec.quantizer import ScalarQuantizer, straight_through


@dataclass
class TrainingOutput:
    """What ``AudioCodec.forward`` gives to the losses."""

    waveform: Tensor
    """(batch, 1, samples): the decoded waveform."""
    latent: Tensor
    """(batch, latent_channels, frames): the encoder's output."""
    codes: Tensor
    """The same shape: the latent as the decoder will see it, without gradient to the encoder."""
    kbps: Tensor
    """Scalar: estimated rate, −log2 p summed, per second of audio, in kilobits."""


class AudioCodec(nn.Module):
    """A codec for one audio channel at ``config.sample_rate``.

    More channels are coded one by one. ``tables`` and ``model_hash`` are there once a checkpoint
    with frozen tables was loaded (``codec.checkpoint.load``); before that it can only train.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.quantizer = ScalarQuantizer()
        self.prior = FactorizedPrior(config.latent_channels)
        self.decoder = build_decoder(config)
        self.tables: FrozenTables | None = None
        self.model_hash = b""

    def forward(self, waveform: Tensor) -> TrainingOutput:
        """(batch, 1, frames · hop) waveform at the codec's rate, through quantizer and back."""
        latent = self.encoder(waveform)
        codes, noisy = self.quantizer(latent)
        decoded = self.decoder(straight_through(latent, codes))
        seconds = waveform.shape[0] * waveform.shape[-1] / self.config.sample_rate
        return TrainingOutput(decoded, latent, codes, self.prior.bits(noisy).sum() / seconds / 1000)

    def symbols(self, waveform: NDArray[np.float32]) -> NDArray[np.int32]:
        """(channels, samples) at the codec's rate to (channels, latent_channels, frames)."""
        with torch.inference_mode():
            latent = encode_latent(self.encoder, torch.from_numpy(waveform), self.config)
            if not torch.isfinite(latent).all():
                raise AudioError("the encoder gave values that are not finite on this audio")
            return self.quantizer.quantize(latent).numpy()

    def synthesize(self, symbols: NDArray[np.int32]) -> NDArray[np.float32]:
        """(channels, latent_channels, frames) to (channels, frames · hop) at the codec's rate."""
        with torch.inference_mode():
            latent = self.quantizer.dequantize(torch.from_numpy(symbols))
            return decode_latent(self.decoder, latent, self.config).numpy()

    def compress(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        """(channels, samples) or (samples,) waveform at any rate to the bytes of an .rdc file."""
        tables = self.frozen_tables()
        waveform = np.atleast_2d(np.asarray(waveform, np.float32))
        audio.check(waveform, sample_rate)
        channels, length = waveform.shape
        header = bitstream.Header(self.model_hash, tables.digest(), sample_rate, channels, length)
        symbols = self.symbols(audio.resample(waveform, sample_rate, self.config.sample_rate))
        rows = symbols.reshape(channels * tables.channels, -1)
        repeated = tables.repeated(channels)
        parts = [header.pack()]
        for number, start in enumerate(range(0, rows.shape[-1], self.chunk_frames)):
            payload = range_coder.encode(rows[:, start : start + self.chunk_frames], repeated)
            parts.append(bitstream.pack_chunk(number, payload))
        return b"".join(parts)

    def decompress(self, data: bytes | BinaryIO) -> tuple[NDArray[np.float32], int]:
        """The bytes of an .rdc file, or a file open for them, to (channels, samples) and rate."""
        file = io.BytesIO(data) if isinstance(data, bytes) else data
        header, symbols = self.read_symbols(file)
        decoded = audio.resample(
            self.synthesize(symbols), self.config.sample_rate, header.sample_rate
        )
        return fit_length(decoded, header.length), header.sample_rate

    def read_symbols(self, file: BinaryIO) -> tuple[bitstream.Header, NDArray[np.int32]]:
        """Header and (channels, latent_channels, frames) symbols of an .rdc file."""
        tables = self.frozen_tables()
        header = bitstream.read_header(file)
        if header.model_hash != self.model_hash:
            raise BitstreamError(
                f"made with model {header.model_hash.hex()}, but this is model "
                f"{self.model_hash.hex()}; name the right one with --model"
            )
        if header.tables_hash != tables.digest():
            raise BitstreamError(
                f"made with tables {header.tables_hash.hex()}, but this model has "
                f"{tables.digest().hex()}; name the right one with --model"
            )
        frames = self.frames(header)
        repeated = tables.repeated(header.channels)
        starts = range(0, frames, self.chunk_frames)
        chunks = [
            range_coder.decode(payload, min(self.chunk_frames, frames - start), repeated)
            for start, payload in zip(
                starts, bitstream.read_chunks(file, len(starts)), strict=False
            )
        ]
        symbols = np.concatenate(chunks, axis=-1)
        return header, symbols.reshape(header.channels, tables.channels, frames)

    @property
    def chunk_frames(self) -> int:
        """Frames of one chunk of the container."""
        return math.ceil(bitstream.CHUNK_SECONDS * self.config.frame_rate)

    def frames(self, header: bitstream.Header) -> int:
        """Frames that a file with this header holds."""
        samples = audio.resampled_length(header.length, header.sample_rate, self.config.sample_rate)
        return -(-samples // self.config.hop)

    def frozen_tables(self) -> FrozenTables:
        if self.tables is None:
            raise UserError(
                "this model has no frozen tables yet; `rdcodec run` makes them in fit_entropy"
            )
        return self.tables


def fit_length(waveform: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """(channels, samples) cut, or continued with zeros, to exactly ``length`` samples."""
    missing = length - waveform.shape[-1]
    return np.pad(waveform, ((0, 0), (0, missing))) if missing > 0 else waveform[:, :length]


def load(model: str | Path) -> AudioCodec:
    """The codec of that released name, model folder or model file, ready to use."""
    from codec import checkpoint

    return checkpoint.load(checkpoint.find(model))
