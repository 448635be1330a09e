import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codec.coding import bitstream
from codec.coding.bitstream import HEADER_BYTES, Header
from codec.errors import BitstreamError


def file_of(payloads: list[bytes]) -> bytes:
    """A file whose header asks for as many chunks as there are payloads."""
    header = Header(b"mmmm", b"tttt", 8_000, 2, 80_000 * len(payloads) - 7)
    return header.pack() + b"".join(
        bitstream.pack_chunk(header, number, payload) for number, payload in enumerate(payloads)
    )


def read_all(data: bytes) -> list[bytes]:
    file = io.BytesIO(data)
    header = bitstream.read_header(file)
    return [bitstream.require(chunk) for chunk in bitstream.read_chunks(file, header)]


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
    assert read_all(file_of(payloads)) == payloads


def test_every_changed_byte_and_every_truncation_is_found() -> None:
    data = file_of([b"first payload", b"", b"x" * 200])
    for position in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            with pytest.raises(BitstreamError):
                read_all(bytes(damaged))
        with pytest.raises(BitstreamError):
            read_all(data[:position])


def test_a_chunk_of_another_place_or_file_is_found_out() -> None:
    data = file_of([b"one", b"two"])
    # Each chunk here has a byte of size, four of checksum and three of payload.
    first, second = data[24:32], data[32:40]
    with pytest.raises(BitstreamError, match="chunk 0 of 2"):
        read_all(data[:24] + second + first)
    with pytest.raises(BitstreamError, match="chunk 1 of 3"):
        read_all(file_of([b"one", b"two", b"six"])[:32] + second + data[32:40])


def test_bytes_after_the_end_are_found() -> None:
    with pytest.raises(BitstreamError, match="after the last"):
        read_all(file_of([b"one"]) + b"!")


@example(sizes=[0, 0, 0], position=0, flip=5)  # a size that leads to the last chunk
@given(
    sizes=st.lists(st.integers(0, 400), min_size=3, max_size=8),
    position=st.integers(0, 10**6),
    flip=st.integers(1, 255),
)
def test_after_damage_reading_goes_on_at_the_next_whole_chunk(
    sizes: list[int], position: int, flip: int
) -> None:
    payloads = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    data = bytearray(file_of(payloads))
    position = 24 + position % (len(data) - 24)
    data[position] ^= flip
    file = io.BytesIO(bytes(data))
    chunks = list(bitstream.read_chunks(file, bitstream.read_header(file)))
    assert [chunk.number for chunk in chunks] == list(range(len(payloads)))
    lost = [chunk.number for chunk in chunks if chunk.payload is None]
    assert len(lost) == 1
    assert all(chunk.payload == payloads[chunk.number] for chunk in chunks if not chunk.damage)


def test_chunks_before_the_first_wanted_are_passed_over() -> None:
    payloads = [b"one", b"two" * 100, b"three", b"four"]
    file = io.BytesIO(file_of(payloads))
    header = bitstream.read_header(file)
    found = list(bitstream.read_chunks(file, header, first=1, last=3))
    assert [(chunk.number, chunk.payload) for chunk in found] == [(1, payloads[1]), (2, b"three")]


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
    assert found.compression_ratio == 2 * 2 * (160_000 - 7) / found.file_bytes


def described(
    seconds: int, rate: int, channels: int, file_bytes: int, symbols: int | None = None
) -> bitstream.Description:
    """What is said of a file of that many bytes."""
    header = Header(b"mmmm", b"tttt", rate, channels, seconds * rate)
    assert header.chunks == 1
    # Beside the payload: the header, its size as two bytes, and the checksum.
    payload = bytes(file_bytes - HEADER_BYTES - 6)
    data = header.pack() + bitstream.pack_chunk(header, 0, payload)
    assert len(data) == file_bytes
    return bitstream.describe(io.BytesIO(data), lambda _: symbols)


def test_6000_codes_of_three_and_a_half_bits_in_5_seconds_are_4_2_kbps() -> None:
    # 6,000 · 3.5 / 8 bytes of payload.
    found = described(5, 48_000, 1, 2_625 + HEADER_BYTES + 6, symbols=6_000)
    assert found.bits_per_symbol == 3.5
    assert found.payload_kbps == pytest.approx(4.2)
    assert found.overhead_bytes == HEADER_BYTES + 6


def test_15_kbps_of_48_khz_stereo_are_a_ratio_of_102_4() -> None:
    found = described(2, 48_000, 2, 2 * 15_000 // 8)
    assert found.file_kbps == pytest.approx(15)
    assert found.compression_ratio == pytest.approx(102.4)


def test_24_kbps_of_44_1_khz_stereo_are_a_ratio_of_58_8() -> None:
    found = described(1, 44_100, 2, 24_000 // 8)
    assert found.file_kbps == pytest.approx(24)
    assert found.compression_ratio == pytest.approx(58.8)
    assert found.bits_per_symbol is None
