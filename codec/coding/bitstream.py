"""The ``.rdc`` container.

All numbers are little-endian. A file is a header and then chunks up to its end.

Header, 24 bytes::

    offset  size  field
         0     3  magic, "RDC"
         3     1  version of this layout, 2
         4     4  model hash: which weights decode this file
         8     4  tables hash: which frozen tables decode its bits
        12     3  sample rate of the original, Hz
        15     1  channels of the original
        16     5  length of the original, samples per channel
        21     1  layers of a chunk's payload, or 128 + the rate level of one without layers
        22     2  CRC-16/XMODEM of bytes 0 to 21

Each chunk holds the symbols of all channels for ``CHUNK_SECONDS`` of audio (the last chunk: of
what is left), and can be decoded alone::

    size  field
     1-4  bytes of the payload, as LEB128
       4  CRC-32 of header and payload, exclusive or CRC-32 of the chunk's number (4 bytes)
       n  payload

So a chunk of another file, or in another place, is as wrong as a damaged one, and what is found
after damage can be told to be a chunk and which one.

Symbols of a scalar quantizer are one piece, a (groups · latent channels, frames) array, where the
groups are those of the audio channels that the model codes jointly. Symbols of a residual
quantizer come in layers, a (groups, frames) array for each codebook in turn: the size of its bytes
as LEB128, and these bytes. So a file is cut down to fewer codebooks without being decoded
(``trim``).
"""

import binascii
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from codec.errors import BitstreamError

MAGIC = b"RDC"
VERSION = 2
HEADER_BYTES = 24
CHUNK_SECONDS = 10
MIN_CHUNK_BYTES = 5
_LEVELS = 128
SEARCH_CHUNKS = 1 << 16
"""How many chunks may be missing in a row."""
SEARCH_BYTES = 1 << 27
"""How far, and at what cost in bytes checksummed, a chunk is searched for after damage."""


@dataclass(frozen=True)
class Header:
    """What a file says about itself; ``length`` is samples per channel, at ``sample_rate`` Hz."""

    model_hash: bytes
    tables_hash: bytes
    sample_rate: int
    channels: int
    length: int
    layers: int = 0
    """Of each payload; 0: it has none."""
    level: int = 0
    """Of rate, of a payload without layers."""

    @property
    def seconds(self) -> float:
        return self.length / self.sample_rate

    @property
    def chunks(self) -> int:
        """Chunks of the file; ``CHUNK_SECONDS`` are a whole number of frames of every model."""
        return -(-self.length // (CHUNK_SECONDS * self.sample_rate))

    def pack(self) -> bytes:
        body = MAGIC + bytes([VERSION]) + self.model_hash + self.tables_hash
        body += self.sample_rate.to_bytes(3, "little") + bytes([self.channels])
        body += self.length.to_bytes(5, "little") + bytes([self.layers or _LEVELS + self.level])
        return body + struct.pack("<H", binascii.crc_hqx(body, 0))


def read_header(file: BinaryIO) -> Header:
    """Read and check the 24 bytes of the header."""
    data = file.read(HEADER_BYTES)
    if data[:3] != MAGIC:
        raise BitstreamError("not an .rdc file: it does not begin with RDC")
    if len(data) < HEADER_BYTES:
        raise BitstreamError(f"truncated: {len(data)} of the header's {HEADER_BYTES} bytes")
    if struct.unpack("<H", data[22:])[0] != binascii.crc_hqx(data[:22], 0):
        raise BitstreamError("damaged header: its checksum does not match")
    if data[3] != VERSION:
        raise BitstreamError(f"layout version {data[3]}; this rdcodec reads version {VERSION}")
    header = Header(
        model_hash=data[4:8],
        tables_hash=data[8:12],
        sample_rate=int.from_bytes(data[12:15], "little"),
        channels=data[15],
        length=int.from_bytes(data[16:21], "little"),
        layers=data[21] if data[21] < _LEVELS else 0,
        level=max(0, data[21] - _LEVELS),
    )
    if not all((header.sample_rate, header.channels, header.length, data[21])):
        raise BitstreamError("damaged header: sample rate, channels, length, layers are at least 1")
    return header


def check_size(file: BinaryIO, header: Header) -> None:
    """Raise BitstreamError where an open file cannot hold its chunks, however short they are.

    So no small file can claim years of audio, nor be filled up with as much silence.
    """
    position = file.tell()
    left = file.seek(0, io.SEEK_END) - HEADER_BYTES
    file.seek(position)
    least = header.chunks * MIN_CHUNK_BYTES
    if left < least:
        raise BitstreamError(
            f"truncated: {header.chunks} chunks take {least} bytes at least, and {left} are there"
        )


def pack_chunk(header: Header, number: int, payload: bytes) -> bytes:
    """One chunk as bytes; ``number`` counts from 0."""
    checksum = _seal(header, payload) ^ _number_mark(number)
    return _pack_size(len(payload)) + struct.pack("<I", checksum) + payload


def pack_layers(layers: list[bytes]) -> bytes:
    """The payload of a chunk in layers."""
    return b"".join(_pack_size(len(layer)) + layer for layer in layers)


def split_layers(payload: bytes, header: Header) -> list[bytes]:
    """What ``pack_layers`` put together; a payload without layers is one of its own."""
    if not header.layers:
        return [payload]
    file, layers = io.BytesIO(payload), []
    for _ in range(header.layers):
        size = _read_size(file)
        layers.append(b"" if size is None else file.read(size))
        if size is None or len(layers[-1]) < size:
            raise BitstreamError(f"a chunk does not hold its {header.layers} layers")
    if file.read(1):
        raise BitstreamError(f"a chunk holds more than its {header.layers} layers")
    return layers


@dataclass(frozen=True)
class Chunk:
    """A chunk as read: its number and payload, or why it has none."""

    number: int
    payload: bytes | None
    damage: str = ""


def read_chunks(
    file: BinaryIO, header: Header, first: int = 0, last: int | None = None
) -> Iterator[Chunk]:
    """Yield chunks ``first`` to ``last`` (not included; None: all) of a file read past its header.

    Chunks before ``first`` are passed over unread. A damaged or missing chunk comes with the reason
    in place of a payload; reading goes on at the next chunk whose checksum is right. ``require``
    makes an error of damage.
    """
    end = header.chunks if last is None else last
    number = 0
    while number < end:
        start = file.tell()
        size = _read_size(file)
        if size is not None and number < first:
            file.seek(4 + size, io.SEEK_CUR)
            number += 1
            continue
        payload = None if size is None else _read_payload(file, header, number, size)
        if payload is not None:
            yield Chunk(number, payload)
            number += 1
            continue
        file.seek(start)
        following = _find_chunk(file, header, number + 1)
        for lost in range(max(number, first), min(end, following)):
            yield Chunk(lost, None, f"chunk {lost} of {header.chunks} is damaged or cut off")
        number = following
    if last is None and file.read(1):
        yield Chunk(number, None, f"there are bytes after the last of {header.chunks} chunks")


def trim(source: BinaryIO, target: BinaryIO, layers: int) -> Header:
    """Write ``source`` with the first ``layers`` of its layers alone; returns the new header.

    The bytes are those of compressing with so many codebooks. Constant memory; no model is needed.
    """
    header = read_header(source)
    if not header.layers:
        raise BitstreamError("has no layers: its model has no codebooks, but a scalar quantizer")
    if not 1 <= layers <= header.layers:
        raise BitstreamError(f"has {header.layers} codebooks, of which {layers} cannot be kept")
    trimmed = replace(header, layers=layers)
    target.write(trimmed.pack())
    for chunk in read_chunks(source, header):
        payload = pack_layers(split_layers(require(chunk), header)[:layers])
        target.write(pack_chunk(trimmed, chunk.number, payload))
    return trimmed


def require(chunk: Chunk) -> bytes:
    """The payload of a chunk, or BitstreamError with the reason why there is none."""
    if chunk.payload is None:
        raise BitstreamError(chunk.damage)
    return chunk.payload


def _seal(header: Header, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(header.pack()))


def _number_mark(number: int) -> int:
    return zlib.crc32(struct.pack("<I", number))


def _pack_size(size: int) -> bytes:
    packed = bytearray()
    while size >= 0x80:
        packed.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(packed) + bytes([size])


def _read_size(file: BinaryIO) -> int | None:
    """Bytes of a payload; None where no writer would have written such a number."""
    size = 0
    for shift in range(0, 28, 7):
        byte = file.read(1)
        if not byte:
            return None
        size |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return size
    return None


def _read_payload(file: BinaryIO, header: Header, number: int, size: int) -> bytes | None:
    """The payload after a size; None where it is cut short or its checksum is wrong."""
    checksum, payload = file.read(4), file.read(size)
    if len(checksum) < 4 or len(payload) < size:
        return None
    right = struct.unpack("<I", checksum)[0] == _seal(header, payload) ^ _number_mark(number)
    return payload if right else None


def _find_chunk(file: BinaryIO, header: Header, first: int) -> int:
    """Move to the next whole chunk of number ``first`` or more and return its number.

    The file stands at a damaged chunk. Where damage left its size whole, that leads to the very
    next one; else every position may begin a chunk, and a checksum of 32 bits tells.
    ``SEARCH_BYTES`` bounds the work. Where nothing is found, the file stands at its end and the
    number is ``header.chunks``.
    """
    start, end = file.tell(), min(header.chunks, first + SEARCH_CHUNKS)
    marks = {_number_mark(number): number for number in range(first, end)}
    reach = file.read(SEARCH_BYTES)

    def chunk_at(offset: int) -> tuple[int | None, int, int]:
        """Number of the whole chunk there (None: there is none), its end, and bytes summed."""
        view = io.BytesIO(reach[offset : offset + 4])
        size = _read_size(view)
        body = offset + view.tell() + 4
        if size is None or body + size > len(reach):
            return None, len(reach), 0
        checksum = struct.unpack("<I", reach[body - 4 : body])[0]
        seal = _seal(header, reach[body : body + size])
        return marks.get(checksum ^ seal), body + size, size

    # A damaged size may lead to a later chunk, past whole ones.
    _, led, _ = chunk_at(0)
    begin = led if chunk_at(led)[0] == first else 1
    work = 0
    for offset in range(begin, len(reach)):
        number, _, summed = chunk_at(offset)
        if number is not None:
            file.seek(start + offset)
            return number
        work += summed
        if work > SEARCH_BYTES:
            break
    file.seek(0, io.SEEK_END)
    return header.chunks


@dataclass(frozen=True)
class Description:
    """The facts of a file: sizes in bytes, rates in kbps.

    ``compression_ratio`` is against 16-bit PCM at the original's rate and channels. Overhead is
    all that is not the range coder's. ``codebooks`` is None for a scalar quantizer, ``level`` is 0
    for a model of one rate. ``symbols``
    and ``bits_per_symbol`` (of payload) are None where the file's model is not at hand, for only
    it knows how many symbols make a second.
    """

    version: int
    model: str
    tables: str
    codebooks: int | None
    level: int
    sample_rate: int
    channels: int
    samples: int
    seconds: float
    chunks: int
    file_bytes: int
    payload_bytes: int
    overhead_bytes: int
    file_kbps: float
    payload_kbps: float
    compression_ratio: float
    symbols: int | None
    bits_per_symbol: float | None


def describe(
    file: BinaryIO, count_symbols: Callable[[Header], int | None] = lambda _: None
) -> Description:
    """Read a whole file, check every chunk's checksum, and account for its bytes.

    ``count_symbols`` says how many symbols a file of that header holds, or None.
    """
    header = read_header(file)
    check_size(file, header)
    payload_bytes = sum(
        len(layer)
        for chunk in read_chunks(file, header)
        for layer in split_layers(require(chunk), header)
    )
    symbols = count_symbols(header)
    file_bytes = file.tell()
    return Description(
        version=VERSION,
        model=header.model_hash.hex(),
        tables=header.tables_hash.hex(),
        codebooks=header.layers or None,
        level=header.level,
        sample_rate=header.sample_rate,
        channels=header.channels,
        samples=header.length,
        seconds=header.seconds,
        chunks=header.chunks,
        file_bytes=file_bytes,
        payload_bytes=payload_bytes,
        overhead_bytes=file_bytes - payload_bytes,
        file_kbps=file_bytes * 8 / header.seconds / 1000,
        payload_kbps=payload_bytes * 8 / header.seconds / 1000,
        compression_ratio=2 * header.channels * header.length / file_bytes,
        symbols=symbols,
        bits_per_symbol=None if symbols is None else payload_bytes * 8 / symbols,
    )
