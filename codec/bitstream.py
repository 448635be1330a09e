"""The ``.rdc`` container.

All numbers are little-endian. A file is a header and then chunks up to its end.

Header, 24 bytes::

    offset  size  field
         0     3  magic, "RDC"
         3     1  version of this layout, 1
         4     4  model hash: which weights decode this file
         8     4  tables hash: which frozen tables decode its bits
        12     3  sample rate of the original, Hz
        15     1  channels of the original
        16     5  length of the original, samples per channel
        21     1  flags, 0 (kept for layouts of several layers)
        22     2  CRC-16/XMODEM of bytes 0 to 21

Each chunk holds the symbols of all channels for ``CHUNK_SECONDS`` of audio (the last chunk: of
what is left), and can be decoded alone::

    size  field
     1-5  bytes of the payload, as LEB128
       4  CRC-32 of the payload and of the chunk's number (4 bytes)
       n  payload

Audio channels are coded one after the other: the symbols of a chunk are a (audio channels ·
latent channels, frames) array.
"""

import binascii
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from codec.errors import BitstreamError

MAGIC = b"RDC"
VERSION = 1
HEADER_BYTES = 24
CHUNK_SECONDS = 10
MAX_CHUNK_BYTES = 1 << 26


@dataclass(frozen=True)
class Header:
    """What a file says about itself; ``length`` is samples per channel, at ``sample_rate`` Hz."""

    model_hash: bytes
    tables_hash: bytes
    sample_rate: int
    channels: int
    length: int

    @property
    def seconds(self) -> float:
        return self.length / self.sample_rate

    def pack(self) -> bytes:
        body = MAGIC + bytes([VERSION]) + self.model_hash + self.tables_hash
        body += self.sample_rate.to_bytes(3, "little") + bytes([self.channels])
        body += self.length.to_bytes(5, "little") + bytes([0])
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
    if data[21]:
        raise BitstreamError(f"unknown flags {data[21]:#04x}; a newer rdcodec may read this file")
    header = Header(
        model_hash=data[4:8],
        tables_hash=data[8:12],
        sample_rate=int.from_bytes(data[12:15], "little"),
        channels=data[15],
        length=int.from_bytes(data[16:21], "little"),
    )
    if not header.sample_rate or not header.channels or not header.length:
        raise BitstreamError("damaged header: sample rate, channels and length are at least 1")
    return header


def pack_chunk(number: int, payload: bytes) -> bytes:
    """One chunk as bytes; ``number`` counts from 0 and is covered by the checksum."""
    size, rest = bytearray(), len(payload)
    while rest >= 0x80:
        size.append(rest & 0x7F | 0x80)
        rest >>= 7
    size.append(rest)
    return bytes(size) + struct.pack("<I", _checksum(number, payload)) + payload


def read_chunks(file: BinaryIO, count: int) -> Iterator[bytes]:
    """Yield the payloads of ``count`` chunks; BitstreamError names the chunk that is damaged."""
    for number in range(count):
        yield _read_chunk(file, number)
    if file.read(1):
        raise BitstreamError(f"damaged: there are bytes after the last of {count} chunks")


def _read_chunk(file: BinaryIO, number: int) -> bytes:
    size = _read_size(file, number)
    checksum = file.read(4)
    payload = file.read(size)
    if len(checksum) < 4 or len(payload) < size:
        raise BitstreamError(f"truncated: the file ends inside chunk {number}")
    if struct.unpack("<I", checksum)[0] != _checksum(number, payload):
        raise BitstreamError(f"damaged: chunk {number} fails its checksum")
    return payload


def _checksum(number: int, payload: bytes) -> int:
    return zlib.crc32(struct.pack("<I", number), zlib.crc32(payload))


def _read_size(file: BinaryIO, number: int) -> int:
    size = 0
    for shift in range(0, 35, 7):
        byte = file.read(1)
        if not byte:
            raise BitstreamError(f"truncated: the file ends before chunk {number}")
        size |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            break
    if size > MAX_CHUNK_BYTES:
        raise BitstreamError(f"damaged: chunk {number} claims {size} bytes")
    return size


@dataclass(frozen=True)
class Description:
    """The facts of a file: sizes in bytes, rates in kbps.

    ``compression_ratio`` is against 16-bit PCM at the original's rate and channels.
    """

    version: int
    model: str
    tables: str
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


def describe(file: BinaryIO) -> Description:
    """Read a whole file, check every chunk's checksum, and account for its bytes."""
    header = read_header(file)
    start = file.tell()
    file_bytes = file.seek(0, io.SEEK_END)
    file.seek(start)
    chunks, payload_bytes = 0, 0
    while file.tell() < file_bytes:
        payload_bytes += len(_read_chunk(file, chunks))
        chunks += 1
    return Description(
        version=VERSION,
        model=header.model_hash.hex(),
        tables=header.tables_hash.hex(),
        sample_rate=header.sample_rate,
        channels=header.channels,
        samples=header.length,
        seconds=header.seconds,
        chunks=chunks,
        file_bytes=file_bytes,
        payload_bytes=payload_bytes,
        overhead_bytes=file_bytes - payload_bytes,
        file_kbps=file_bytes * 8 / header.seconds / 1000,
        payload_kbps=payload_bytes * 8 / header.seconds / 1000,
        compression_ratio=2 * header.channels * header.length / file_bytes,
    )
