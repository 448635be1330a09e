"""AudioCodec: encoder, quantizer, entropy model and decoder as one thing."""

import functools
import hashlib
import io
import math
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Buffer

from codec import audio
from codec.coding import bitstream, context, index_context, payloads
from codec.coding.chunks import decode_latent, encode_latent, groups, regroup, with_tail
from codec.config import CodecConfig
from codec.errors import AudioError, BitstreamError, UserError
from codec.nn import weight_packing
from codec.nn.network import CodecNetwork
from codec.nn.priors import CategoricalPrior, ContextPrior
from codec.rate import compress_near

MIDDLE = 0.45
"""Where among a model's levels the rate is that of a file for which none was chosen."""


PERCEPTUAL = "perceptual."
"""How names of weights of a perceptual decoder begin."""


class AudioCodec(CodecNetwork):
    """A codec: waveforms of any rate and channels to the bytes of ``.rdc`` files, and back.

    ``tables`` and ``model_hash`` are there once the model was frozen (``freeze``) or loaded from
    a checkpoint with frozen tables; before that it can only train.

    >>> import numpy as np, torch
    >>> from codec import PRESETS, AudioCodec
    >>> _ = torch.manual_seed(0)
    >>> model = AudioCodec(PRESETS["spectral-24k"]).freeze()  # untrained: it codes, but badly
    >>> waveform = np.zeros((2, 44_100), np.float32)
    >>> data = model.compress(waveform, 44_100)
    >>> decoded, sample_rate = model.decompress(data)
    >>> decoded.shape, sample_rate
    ((2, 44100), 44100)
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__(config)
        self.tables: payloads.Tables | None = None
        self.model_hash = b""

    def freeze(self) -> Self:
        """Freeze the prior into integer tables and name the weights: from here on it can code."""
        if self.config.levels > 1 and self.config.entropy != "context":
            raise UserError("codec.entropy: a codec of many rates is coded with a context model")
        if isinstance(self.prior, ContextPrior):
            self.tables = context.freeze(self.prior.arrays(self.config.levels))
        elif isinstance(self.prior, CategoricalPrior) and self.config.entropy == "context":
            self.tables = index_context.independent(self.prior.masses())
        else:
            self.tables = self.prior.freeze()
        self.model_hash = weights_hash(self.config, self.state_dict())
        return self.eval()

    def round_weights(self) -> None:
        """Round all weights to what ``checkpoint.save(small=True)`` keeps of them."""
        self.load_state_dict(weight_packing.widened(weight_packing.packed(self.state_dict())))

    def symbols(self, waveform: NDArray[np.float32], level: int | None = None) -> NDArray[np.int32]:
        """(channels, samples) at the codec's rate to (groups, rows, frames) symbols.

        A group is ``config.channels`` audio channels, a row a latent channel or a codebook.
        """
        parts = self._symbols([waveform], self.rate_level(level))
        return np.concatenate([part.numpy() for part in parts], axis=-1)

    def synthesize(
        self,
        symbols: NDArray[np.int32],
        channels: int,
        level: int | None = None,
        perceptual: bool = False,
    ) -> NDArray[np.float32]:
        """(groups, rows, frames) to (channels, frames · hop) at the codec's rate."""
        parts = self._synthesize([symbols], channels, self.rate_level(level), perceptual)
        return np.concatenate(list(parts), axis=-1)

    def rate_level(self, level: int | None = None) -> int:
        """A level of rate that this model has: the one given, or a middle one for None."""
        levels = self.config.levels
        if level is None:
            return round(MIDDLE * (levels - 1))
        try:
            level = operator.index(level)
        except TypeError as error:
            raise UserError(f"level {level!r}; pass a whole number") from error
        if not 0 <= level < levels:
            what = f"has levels 0 to {levels - 1}" if levels > 1 else "has one rate"
            raise UserError(f"level {level}: this model {what}")
        return level

    def compress(
        self,
        waveform: NDArray[np.float32],
        sample_rate: int,
        codebooks: int | None = None,
        level: int | None = None,
        kbps: float | None = None,
    ) -> bytes:
        """(channels, samples) or (samples,) waveform at any rate to the bytes of an .rdc file.

        An array or a tensor, of floats in [-1, 1].
        ``codebooks`` is how many of a residual quantizer's codebooks are used; None: all. Of a
        model of many rates, ``level`` chooses one, or ``kbps`` the rate that the file comes near.
        Raises AudioError for audio that cannot be coded: NaN, infinity, no samples, no usual rate.
        """
        if kbps is not None:
            return compress_near(self, lambda: [waveform], sample_rate, kbps)[0]
        file = io.BytesIO()
        self.compress_to(file, [waveform], sample_rate, codebooks, level)
        return file.getvalue()

    def compress_to(
        self,
        file: BinaryIO,
        parts: Iterable[NDArray[np.float32]],
        sample_rate: int,
        codebooks: int | None = None,
        level: int | None = None,
    ) -> bitstream.Header:
        """Write (channels, samples) parts of one waveform to an open file.

        The bytes do not depend on how the waveform is cut into parts. Memory holds a part, a
        chunk, and the coded bytes: checksums cover the header, and that needs the length.
        """
        rows, length, channels = self._rows(codebooks), 0, 0
        level = self.rate_level(level)
        sample_rate = audio.whole_rate(sample_rate)
        tables = self.frozen_tables()

        def checked() -> Iterator[NDArray[np.float32]]:
            nonlocal length, channels
            for part in map(audio.as_waveform, parts):
                audio.check(part, sample_rate, start=length)
                if channels not in (0, part.shape[0]):
                    raise AudioError(f"{channels} channels, and in a later part {part.shape[0]}")
                length, channels = length + part.shape[-1], part.shape[0]
                yield part

        resampled = audio.resample_parts(checked(), sample_rate, self.config.sample_rate)
        payloads = [
            self._payload(chunk[:, :rows].numpy(), level)
            for chunk in regroup(self._symbols(resampled, level), self.chunk_frames, self._least)
        ]
        if not payloads:
            raise AudioError("no samples to code")
        header = bitstream.Header(
            self.model_hash,
            tables.digest(),
            sample_rate,
            channels,
            length,
            layers=rows if self.layered else 0,
            level=level,
        )
        file.write(header.pack())
        for number, payload in enumerate(payloads):
            file.write(bitstream.pack_chunk(header, number, payload))
        return header

    def decompress(
        self, data: Buffer | BinaryIO, perceptual: bool = False
    ) -> tuple[NDArray[np.float32], int]:
        """The bytes of an .rdc file, or a file open for them, to (channels, samples) and rate.

        ``perceptual`` takes the second decoder, of a model that has one: the same file, with
        texture in place of what it says nothing of.
        """
        header, parts = self.decompress_parts(as_file(data), perceptual=perceptual)
        return np.concatenate(list(parts), axis=-1), header.sample_rate

    def decompress_parts(
        self,
        file: BinaryIO,
        damaged: list[bitstream.Chunk] | None = None,
        perceptual: bool = False,
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
            for part in self._synthesize(symbols(), header.channels, header.level, perceptual):
                for chunk in lost:
                    # A missing chunk's symbols are zeros, which need not sound like nothing.
                    begin = chunk.number * chunk_samples - position
                    part[:, max(0, begin) : max(0, begin + chunk_samples)] = 0
                position += part.shape[-1]
                yield part

        resampled = audio.resample_parts(silenced(), self.config.sample_rate, header.sample_rate)
        return header, audio.fit_parts(resampled, header.length)

    def decompress_range(
        self, file: BinaryIO, start: float, duration: float, perceptual: bool = False
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
        # What networks and resampler see of the signal on either side, in seconds.
        margin = self.config.context_frames / self.config.frame_rate
        margin += audio.resampler_reach(self.config.sample_rate, header.sample_rate)
        size = bitstream.CHUNK_SECONDS
        chunks = range(
            max(0, math.floor((first / header.sample_rate - margin) / size)),
            min(header.chunks, math.ceil((last / header.sample_rate + margin) / size)),
        )
        parts = []
        for chunk in bitstream.read_chunks(file, header, chunks.start, chunks.stop):
            bitstream.require(chunk)
            parts.append(self._chunk_symbols(header, chunk))
        offset = chunks.start * bitstream.CHUNK_SECONDS
        waveform = audio.resample(
            self.synthesize(
                np.concatenate(parts, axis=-1), header.channels, header.level, perceptual
            ),
            self.config.sample_rate,
            header.sample_rate,
        )
        first, last = (edge - offset * header.sample_rate for edge in (first, last))
        return waveform[:, first:last], header.sample_rate

    def read_symbols(self, file: BinaryIO) -> tuple[bitstream.Header, NDArray[np.int32]]:
        """Header and (groups, rows, frames) symbols of an .rdc file."""
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
        bitstream.check_size(file, header)
        # The hashes agree, so what follows is in files alone that no encoder wrote.
        audio.check_format(header.sample_rate, header.channels)
        if bool(header.layers) != self.layered or header.layers > self.quantizer.rows:
            raise BitstreamError(f"has {header.layers} codebooks, which this model cannot have")
        if header.level >= self.config.levels:
            raise BitstreamError(f"has level {header.level}, which this model cannot have")
        return header

    @property
    def layered(self) -> bool:
        """Whether files of this model have a layer for each codebook."""
        return self.quantizer.layered

    @property
    def chunk_frames(self) -> int:
        """Frames of one chunk of the container."""
        return bitstream.CHUNK_SECONDS * self.config.sample_rate // self.config.hop

    def frames(self, header: bitstream.Header) -> int:
        """Frames that a file with this header holds."""
        samples = audio.resampled_length(header.length, header.sample_rate, self.config.sample_rate)
        return -(-(samples + self.config.tail) // self.config.hop)

    @property
    def _least(self) -> int:
        """Frames that the last chunk has at least; what is behind the end makes no chunk."""
        return 1 + self.config.tail // self.config.hop

    def bits(self, symbols: NDArray[np.int32], level: int = 0) -> NDArray[np.float64]:
        """(frames,) −log2 p of each frame of (groups, rows, frames) symbols: the ideal length."""
        tables = self.frozen_tables()
        parts = np.split(symbols, range(self.chunk_frames, symbols.shape[2], self.chunk_frames), 2)
        bits = [payloads.symbol_bits(part, level, tables).sum(axis=(0, 1)) for part in parts]
        return np.concatenate(bits)

    def count_symbols(self, header: bitstream.Header) -> int:
        """Symbols that a file with this header holds."""
        rows = header.layers or self.quantizer.rows
        return groups(header.channels, self.config) * rows * self.frames(header)

    @torch.inference_mode()
    def _symbols(self, parts: Iterable[NDArray[np.float32]], level: int) -> Iterator[Tensor]:
        waveforms = with_tail(map(torch.from_numpy, parts), self.config.tail)
        chosen = torch.tensor([level])
        encoder = functools.partial(self.encode, level=chosen)
        latents = encode_latent(encoder, waveforms, self.config)
        for latent in plainly(self.settled(part, chosen) for part in latents):
            if not torch.isfinite(latent).all():
                raise AudioError("the encoder gave values that are not finite on this audio")
            yield self.quantizer.quantize(latent)

    @torch.inference_mode()
    def _synthesize(
        self, parts: Iterable[NDArray[np.int32]], channels: int, level: int, perceptual: bool
    ) -> Iterator[NDArray[np.float32]]:
        if perceptual and self.perceptual is None:
            raise UserError("--perceptual: this model has no perceptual decoder")
        latents = (self.quantizer.dequantize(torch.from_numpy(part)) for part in parts)
        decoder = functools.partial(
            self.perceived if perceptual else self.decoder, level=torch.tensor([level])
        )
        for waveform in plainly(decode_latent(decoder, latents, self.config, channels)):
            yield waveform.numpy().copy()

    def _rows(self, codebooks: int | None) -> int:
        """Rows of symbols to code; UserError where the model has not so many codebooks."""
        if codebooks is None:
            return self.quantizer.rows
        if not self.layered:
            raise UserError("--codebooks: this model has a scalar quantizer, without codebooks")
        if not 1 <= codebooks <= self.quantizer.rows:
            raise UserError(f"--codebooks {codebooks}: this model has 1 to {self.quantizer.rows}")
        return codebooks

    def _payload(self, symbols: NDArray[np.int32], level: int) -> bytes:
        """(groups, rows, frames) symbols to the payload of a chunk."""
        pieces = payloads.encode(symbols, level, self.frozen_tables(), self.layered)
        return bitstream.pack_layers(pieces) if self.layered else pieces[0]

    def _chunk_symbols(self, header: bitstream.Header, chunk: bitstream.Chunk) -> NDArray[np.int32]:
        """(groups, rows, frames) of a chunk; zeros for one that is lost."""
        frames = self.chunk_frames
        if chunk.number == header.chunks - 1:
            frames = self.frames(header) - chunk.number * self.chunk_frames
        count, rows = groups(header.channels, self.config), header.layers or self.quantizer.rows
        if chunk.payload is None:
            return np.zeros((count, rows, frames), np.int32)
        try:
            pieces = bitstream.split_layers(chunk.payload, header)
            shape = count, rows, frames
            return payloads.decode(pieces, shape, header.level, self.frozen_tables(), self.layered)
        except BitstreamError as error:
            raise BitstreamError(f"chunk {chunk.number}: {error}") from error

    def frozen_tables(self) -> payloads.Tables:
        """The integers that decide the bits; UserError for a model that has none yet."""
        if self.tables is None:
            raise UserError(
                "this model has no frozen tables yet; `rdcodec run` makes them in fit_entropy"
            )
        return self.tables


@contextmanager
def plain() -> Iterator[None]:
    """torch as it is by default: float32 on the CPU, whatever the caller's context is.

    Autocast, another default type or device would make other symbols, or none.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_default_dtype(before)


def plainly(items: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same items, each of them made in ``plain`` torch; the caller's own work is not."""
    source = iter(items)
    while True:
        with plain():
            item = next(source, None)
        if item is None:
            return
        yield item


def as_file(data: Buffer | BinaryIO) -> BinaryIO:
    """Bytes, or what is open for reading them, as a file that can be read anywhere."""
    if isinstance(data, str | PathLike):
        raise UserError(f"{os.fspath(data)!r} is a path; pass the file's bytes, or open it")
    try:
        return io.BytesIO(memoryview(cast(Buffer, data)).tobytes())
    except TypeError:
        file = cast(BinaryIO, data)  # no bytes: then it is a file, or nothing that can be read
    if not hasattr(file, "read") or isinstance(file, io.TextIOBase):
        raise UserError(f"{type(data).__name__}; pass bytes, or a file opened with 'rb'")
    return file if file.seekable() else io.BytesIO(file.read())


# OpenMP's threads are not there after a fork, and whoever waits for them waits for ever.
os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


def weights_hash(config: CodecConfig, weights: Mapping[str, Tensor]) -> bytes:
    """Four bytes that name an encoder–decoder pair; the prior is named by the tables' own hash.

    A perceptual decoder has no part in the name: it changes, and files stay valid.

    Fields of the config that have their default are left out, so that a field that a later
    version adds leaves the names of earlier models as they are.
    """
    fields = config.model_dump_json(exclude_defaults=True, exclude={"perceptual_noise"})
    kept = {k: v for k, v in weights.items() if not k.startswith(("prior.", PERCEPTUAL))}
    return _hash(fields, kept)


def perceptual_hash(config: CodecConfig, weights: Mapping[str, Tensor]) -> bytes:
    """Four bytes that name a perceptual decoder."""
    kept = {name: value for name, value in weights.items() if name.startswith(PERCEPTUAL)}
    return _hash(str(config.perceptual_noise), kept)


def _hash(fields: str, weights: Mapping[str, Tensor]) -> bytes:
    sha = hashlib.sha256(fields.encode())
    for name in sorted(weights):
        sha.update(name.encode())
        sha.update(weights[name].cpu().numpy().tobytes())
    return sha.digest()[:4]


def load(model: str | Path) -> AudioCodec:
    """The codec of that released name, model folder or model file, ready to use."""
    from codec import checkpoint

    return checkpoint.load(checkpoint.find(model))
