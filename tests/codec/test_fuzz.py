"""Files that were damaged in every way that we can think of: right symbols or a clear error.

RDCODEC_FUZZ sets how many; the default is small enough for every run of the tests.
"""

import functools
import io
import os
import random

import numpy as np
import pytest

from codec.errors import BitstreamError
from tests.conftest import tiny_codec, tone

COUNT = int(os.environ.get("RDCODEC_FUZZ", "3000"))


@functools.cache
def originals() -> list[tuple[bytes, np.ndarray]]:
    """Some files and their symbols: short and long, one channel and two, also the same header."""
    model = tiny_codec()
    waves = [
        (tone(0.5, 8_000), 8_000),
        (tone(21, 8_000), 8_000),
        (tone(12, 11_025, channels=2), 11_025),
    ]
    waves.append((0.5 * tone(21, 8_000, pitch=333), 8_000))
    files = [model.compress(wave, rate) for wave, rate in waves]
    return [(data, model.read_symbols(io.BytesIO(data))[1]) for data in files]


def mutated(random_: random.Random) -> bytes:
    """One of the originals, flipped, cut, spliced, or with another header."""
    data = bytearray(random_.choice(originals())[0])
    for _ in range(random_.choice((1, 1, 2, 8))):
        way = random_.randrange(6)
        position = random_.randrange(len(data) or 1)
        if way == 0 and data:
            data[position] ^= 1 << random_.randrange(8)
        elif way == 1:
            del data[position:]
        elif way == 2:
            other = random_.choice(originals())[0]
            data[position:] = other[random_.randrange(len(other)) :]
        elif way == 3:
            data[:24] = random_.randbytes(24)
        elif way == 4:
            data[position:position] = random_.randbytes(random_.randrange(1, 40))
        else:
            del data[position : position + random_.randrange(1, 40)]
    return bytes(data)


def test_mutated_files_end_in_the_right_symbols_or_a_clear_error() -> None:
    model, random_ = tiny_codec(), random.Random(0)
    whole = dict(originals())
    refused = 0
    for _ in range(COUNT):
        data = mutated(random_)
        try:
            _, symbols = model.read_symbols(io.BytesIO(data))
        except BitstreamError:
            refused += 1
        else:
            assert data in whole, "a changed file was taken for a whole one"
            assert np.array_equal(symbols, whole[data])
    assert refused > 0.9 * COUNT


def test_skipping_damage_never_fails_once_the_header_is_whole() -> None:
    model, random_ = tiny_codec(), random.Random(1)
    for _ in range(COUNT // 100):
        data = mutated(random_)
        lost: list = []
        try:
            header, parts = model.decompress_parts(io.BytesIO(data), lost)
        except BitstreamError:
            continue  # the header itself
        length = sum(part.shape[-1] for part in parts)
        assert length == header.length
        assert lost or data in {original for original, _ in originals()}


@pytest.mark.parametrize("which", [0, 2])
def test_every_changed_byte_of_a_file_is_noticed(which: int) -> None:
    model = tiny_codec()
    data = originals()[which][0]
    step = 1 if which == 0 else 7
    for position in range(0, len(data), step):
        for flip in (1, 16, 255):
            damaged = bytearray(data)
            damaged[position] ^= flip
            with pytest.raises(BitstreamError):
                model.read_symbols(io.BytesIO(bytes(damaged)))
