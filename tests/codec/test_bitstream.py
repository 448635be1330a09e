import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import bitstream
from codec.bitstream import HEADER_BYTES, Header
from codec.errors import BitstreamError

HEADER = Header(b"mmmm", b"tttt", 44_100, 2, 123_456)


def file_of(payloads: list[bytes]) -> bytes:
    return HEADER.pack() + b"".join(
        bitstream.pack_chunk(number, payload) for number, payload in enumerate(payloads)
    )


def read_all(data: bytes, count: int) -> list[bytes]:
    file = io.BytesIO(data)
    bitstream.read_header(file)
    return list(bitstream.read_chunks(file, count))


@given(
    rate=st.integers(1, 2**24 - 1), channels=st.integers(1, 255), length=st.integers(1, 2**40 - 1)
)
def test_header_comes_back(rate: int, channels: int, length: int) -> None:
    header = Header(b"abcd", b"efgh", rate, channels, length)
    data = header.pack()
    assert len(data) == HEADER_BYTES == 24
    assert bitstream.read_header(io.BytesIO(data)) == header


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_chunks_come_back(payloads: list[bytes]) -> None:
    assert read_all(file_of(payloads), len(payloads)) == payloads


def test_every_changed_byte_and_every_truncation_is_found() -> None:
    data = file_of([b"first payload", b"", b"x" * 200])
    for position in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            with pytest.raises(BitstreamError):
                read_all(bytes(damaged), 3)
        with pytest.raises(BitstreamError):
            read_all(data[:position], 3)


def test_chunks_in_another_order_are_found() -> None:
    first, second = bitstream.pack_chunk(0, b"one"), bitstream.pack_chunk(1, b"two")
    with pytest.raises(BitstreamError, match="chunk 0 fails"):
        read_all(HEADER.pack() + second + first, 2)


def test_bytes_after_the_end_are_found() -> None:
    with pytest.raises(BitstreamError, match="after the last"):
        read_all(file_of([b"one"]) + b"!", 1)


def test_messages_say_what_the_file_is() -> None:
    with pytest.raises(BitstreamError, match=r"not an \.rdc file"):
        bitstream.read_header(io.BytesIO(b"RIFF" + bytes(40)))
    with pytest.raises(BitstreamError, match=r"not an \.rdc file"):
        bitstream.read_header(io.BytesIO(b""))


def test_description_accounts_for_every_byte() -> None:
    found = bitstream.describe(io.BytesIO(file_of([b"12345", b"678"])))
    assert found.chunks == 2
    assert found.payload_bytes == 8
    # Two chunks with a byte of length and four of checksum each.
    assert found.overhead_bytes == HEADER_BYTES + 2 * 5
    assert found.file_bytes == found.payload_bytes + found.overhead_bytes
    assert found.compression_ratio == 2 * 2 * 123_456 / found.file_bytes


def test_arithmetic_of_the_worked_examples() -> None:
    """6,000 codes of 3.5 bits over 5 s are 4.2 kbps; 1,411.2 kbps over 24 are 58.8 to 1."""
    assert pytest.approx(4.2) == 6_000 * 3.5 / 5 / 1000
    one_second = Header(b"mmmm", b"tttt", 44_100, 2, 44_100)
    size = 24_000 // 8
    payload = bytes(size - HEADER_BYTES - 6)
    data = one_second.pack() + bitstream.pack_chunk(0, payload)
    found = bitstream.describe(io.BytesIO(data))
    assert found.file_kbps == pytest.approx(24)
    assert found.compression_ratio == pytest.approx(58.8)
