"""AudioCodec: encoder, quantizer, entropy model and decoder as one thing."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codec import audio, bitstream, range_coder
from codec.chunks import decode_latent, encode_latent, regroup
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
        return np.concatenate([part.numpy() for part in self._symbols([waveform])], axis=-1)

    def synthesize(self, symbols: NDArray[np.int32]) -> NDArray[np.float32]:
        """(channels, latent_channels, frames) to (channels, frames · hop) at the codec's rate."""
        return np.concatenate(list(self._synthesize([symbols])), axis=-1)

    def compress(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        """(channels, samples) or (samples,) waveform at any rate to the bytes of an .rdc file."""
        file = io.BytesIO()
        self.compress_to(file, [np.atleast_2d(np.asarray(waveform, np.float32))], sample_rate)
        return file.getvalue()

    def compress_to(
        self, file: BinaryIO, parts: Iterable[NDArray[np.float32]], sample_rate: int
    ) -> bitstream.Header:
        """Write (channels, samples) parts of one waveform to an open file.

        The bytes do not depend on how the waveform is cut into parts. Memory holds a part, a
        chunk, and the coded bytes: checksums cover the header, and that needs the length.
        """
        tables, length, channels = self.frozen_tables(), 0, 0

        def checked() -> Iterator[NDArray[np.float32]]:
            nonlocal length, channels
            for part in parts:
                audio.check(part, sample_rate, start=length)
                length, channels = length + part.shape[-1], part.shape[0]
                yield part

        resampled = audio.resample_parts(checked(), sample_rate, self.config.sample_rate)
        payloads = [
            range_coder.encode(
                chunk.reshape(-1, chunk.shape[-1]).numpy(), tables.repeated(chunk.shape[0])
            )
            for chunk in regroup(self._symbols(resampled), self.chunk_frames)
        ]
        if not payloads:
            raise AudioError("no samples to code")
        header = bitstream.Header(self.model_hash, tables.digest(), sample_rate, channels, length)
        file.write(header.pack())
        for number, payload in enumerate(payloads):
            file.write(bitstream.pack_chunk(header, number, payload))
        return header

    def decompress(self, data: bytes | BinaryIO) -> tuple[NDArray[np.float32], int]:
        """The bytes of an .rdc file, or a file open for them, to (channels, samples) and rate."""
        file = io.BytesIO(data) if isinstance(data, bytes) else data
        header, parts = self.decompress_parts(file)
        return np.concatenate(list(parts), axis=-1), header.sample_rate

    def decompress_parts(
        self, file: BinaryIO, damaged: list[bitstream.Chunk] | None = None
    ) -> tuple[bitstream.Header, Iterator[NDArray[np.float32]]]:
        """Header and (channels, samples) parts of an open .rdc file, in constant memory.

        Damage raises BitstreamError, unless a list is given: then damaged chunks are appended to
        it and give silence.
        """
        header = self.read_header(file)
        lost: list[bitstream.Chunk] = [] if damaged is None else damaged

        def symbols() -> Iterator[NDArray[np.int32]]:
            for chunk in bitstream.read_chunks(file, header):
                if chunk.payload is None:
                    if damaged is None:
                        bitstream.require(chunk)
                    lost.append(chunk)
                if chunk.number < header.chunks:
                    yield self._chunk_symbols(header, chunk)

        def silenced() -> Iterator[NDArray[np.float32]]:
            chunk_samples, position = self.chunk_frames * self.config.hop, 0
            for part in self._synthesize(symbols()):
                for chunk in lost:
                    # A missing chunk's symbols are zeros, which need not sound like nothing.
                    begin = chunk.number * chunk_samples - position
                    part[:, max(0, begin) : max(0, begin + chunk_samples)] = 0
                position += part.shape[-1]
                yield part

        resampled = audio.resample_parts(silenced(), self.config.sample_rate, header.sample_rate)
        return header, audio.fit_parts(resampled, header.length)

    def decompress_range(
        self, file: BinaryIO, start: float, duration: float
    ) -> tuple[NDArray[np.float32], int]:
        """``duration`` seconds from second ``start`` on, reading only the chunks that they need.

        The samples are those of the whole file's decoding but for the last bits of floats.
        """
        header = self.read_header(file)
        first = round(start * header.sample_rate)
        last = min(round((start + duration) * header.sample_rate), header.length)
        if not 0 <= first < last:
            raise UserError(
                f"--start {start:g} --duration {duration:g}: the file has {header.seconds:.3f} s"
            )
        # A second more on either side gives networks and resampler all that they see of the
        # signal; whole seconds fall on samples and frames of every rate.
        begin, end = max(0, int(start) - 1), int(start + duration) + 2
        chunks = range(
            begin // bitstream.CHUNK_SECONDS,
            min(header.chunks, -(-end // bitstream.CHUNK_SECONDS)),
        )
        parts = []
        for chunk in bitstream.read_chunks(file, header, chunks.start, chunks.stop):
            bitstream.require(chunk)
            parts.append(self._chunk_symbols(header, chunk))
        offset = chunks.start * bitstream.CHUNK_SECONDS
        waveform = audio.resample(
            self.synthesize(np.concatenate(parts, axis=-1)),
            self.config.sample_rate,
            header.sample_rate,
        )
        first, last = (edge - offset * header.sample_rate for edge in (first, last))
        return waveform[:, first:last], header.sample_rate

    def read_symbols(self, file: BinaryIO) -> tuple[bitstream.Header, NDArray[np.int32]]:
        """Header and (channels, latent_channels, frames) symbols of an .rdc file."""
        header = self.read_header(file)
        parts = []
        for chunk in bitstream.read_chunks(file, header):
            bitstream.require(chunk)
            parts.append(self._chunk_symbols(header, chunk))
        return header, np.concatenate(parts, axis=-1)

    def read_header(self, file: BinaryIO) -> bitstream.Header:
        """The header of a file that this model can decode; BitstreamError for any other."""
        header = bitstream.read_header(file)
        tables = self.frozen_tables().digest()
        for what, made, here in (
            ("model", header.model_hash, self.model_hash),
            ("tables", header.tables_hash, tables),
        ):
            if made != here:
                raise BitstreamError(
                    f"made with {what} {made.hex()}, but this model has {here.hex()}; name the "
                    "right one with --model"
                )
        return header

    @property
    def chunk_frames(self) -> int:
        """Frames of one chunk of the container."""
        return bitstream.CHUNK_SECONDS * self.config.sample_rate // self.config.hop

    def frames(self, header: bitstream.Header) -> int:
        """Frames that a file with this header holds."""
        samples = audio.resampled_length(header.length, header.sample_rate, self.config.sample_rate)
        return -(-samples // self.config.hop)

    @torch.inference_mode()
    def _symbols(self, parts: Iterable[NDArray[np.float32]]) -> Iterator[Tensor]:
        for latent in encode_latent(self.encoder, map(torch.from_numpy, parts), self.config):
            if not torch.isfinite(latent).all():
                raise AudioError("the encoder gave values that are not finite on this audio")
            yield self.quantizer.quantize(latent)

    @torch.inference_mode()
    def _synthesize(self, parts: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        latents = (self.quantizer.dequantize(torch.from_numpy(part)) for part in parts)
        for waveform in decode_latent(self.decoder, latents, self.config):
            yield waveform.numpy().copy()

    def _chunk_symbols(self, header: bitstream.Header, chunk: bitstream.Chunk) -> NDArray[np.int32]:
        """(channels, latent_channels, frames) of a chunk; zeros for one that is lost."""
        frames = min(self.chunk_frames, self.frames(header) - chunk.number * self.chunk_frames)
        shape = (header.channels, self.config.latent_channels, frames)
        if chunk.payload is None:
            return np.zeros(shape, np.int32)
        tables = self.frozen_tables().repeated(header.channels)
        try:
            return range_coder.decode(chunk.payload, frames, tables).reshape(shape)
        except BitstreamError as error:
            raise BitstreamError(f"chunk {chunk.number}: {error}") from error

    def frozen_tables(self) -> FrozenTables:
        if self.tables is None:
            raise UserError(
                "this model has no frozen tables yet; `rdcodec run` makes them in fit_entropy"
            )
        return self.tables


def load(model: str | Path) -> AudioCodec:
    """The codec of that released name, model folder or model file, ready to use."""
    from codec import checkpoint

    return checkpoint.load(checkpoint.find(model))
