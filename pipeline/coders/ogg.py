"""Opus packets in an Ogg file (RFC 3533 and RFC 7845), with as little overhead as Ogg allows."""

import struct
from collections.abc import Sequence

SAMPLE_RATE = 48_000
"""Granule positions of Opus always count at this rate."""

_SERIAL = 1
_FIRST, _LAST = 0x02, 0x04


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_CRC = _crc_table()


def pack_opus(
    packets: Sequence[bytes],
    frame_samples: int,
    pre_skip: int,
    length: int,
    channels: int,
    original_rate: int,
) -> bytes:
    """A whole Ogg Opus file.

    ``frame_samples``, ``pre_skip`` and ``length`` are samples per channel at 48 kHz; the last
    granule position is pre-skip plus length, which tells a decoder where the audio ends.
    """
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, pre_skip, original_rate, 0, 0)
    vendor = b"rdcodec"
    tags = b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", 0)
    pages = [_page([head], 0, 0, _FIRST), _page([tags], 0, 1, 0)]
    # A page holds 255 lacing values; a packet takes one for every 255 bytes, and one more.
    waiting: list[bytes] = []
    used = 0
    for index, packet in enumerate(packets):
        lacing = len(packet) // 255 + 1
        if used + lacing > 255:
            pages.append(_page(waiting, index * frame_samples, len(pages), 0))
            waiting, used = [], 0
        waiting.append(packet)
        used += lacing
    pages.append(_page(waiting, pre_skip + length, len(pages), _LAST))
    return b"".join(pages)


def _page(packets: Sequence[bytes], granule: int, number: int, flags: int) -> bytes:
    lacing = b"".join(
        b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets
    )
    head = struct.pack("<4sBBqII", b"OggS", 0, flags, granule, _SERIAL, number)
    body = bytes([len(lacing)]) + lacing + b"".join(packets)
    crc = 0
    for byte in head + b"\0\0\0\0" + body:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC[crc >> 24 ^ byte]
    return head + struct.pack("<I", crc) + body
