"""Files that were damaged in every way that we can think of: right symbols or a clear error.

RDCODEC_FUZZ sets how many; the default is small enough for every run of the tests.
"""

import dataclasses
import functools
import io
import os
import random
import resource
import time

import numpy as np
import pytest

from codec.coding import bitstream
from codec.errors import BitstreamError
from codec.model import AudioCodec
from tests.conftest import INDICES, RESIDUAL, SPECTRAL, TRANSFORM, tiny_codec, tone

COUNT = int(os.environ.get("RDCODEC_FUZZ", "3000"))
HANG_SECONDS = 1.0
"""Of processor time, for files that are read in some milliseconds: a bound, not a timing."""


@functools.cache
def originals() -> list[tuple[AudioCodec, bytes, np.ndarray]]:
    """Some files, their models and symbols: short, long, of two channels, in layers."""
    waves = [
        (SPECTRAL, tone(0.5, 8_000), 8_000),
        (SPECTRAL, tone(21, 8_000), 8_000),
        (SPECTRAL, tone(12, 11_025, channels=2), 11_025),
        (SPECTRAL, 0.5 * tone(21, 8_000, pitch=333), 8_000),  # the second one's header
        (RESIDUAL, tone(12, 8_000, channels=2), 8_000),
        (TRANSFORM, tone(0.5, 8_000), 8_000),
        (INDICES, tone(0.5, 8_000), 8_000),
    ]
    found = []
    for config, wave, rate in waves:
        model = tiny_codec(config)
        data = model.compress(wave, rate)
        found.append((model, data, model.read_symbols(io.BytesIO(data))[1]))
    return found


def mutated(random_: random.Random) -> tuple[AudioCodec, bytes]:
    """One of the originals, flipped, cut, spliced, or with another header, and its model."""
    model, original, _ = random_.choice(originals())
    data = bytearray(original)
    for _ in range(random_.choice((1, 1, 2, 8))):
        way = random_.randrange(6)
        position = random_.randrange(len(data) or 1)
        if way == 0 and data:
            data[position] ^= 1 << random_.randrange(8)
        elif way == 1:
            del data[position:]
        elif way == 2:
            other = random_.choice(originals())[1]
            data[position:] = other[random_.randrange(len(other)) :]
        elif way == 3:
            data[:24] = random_.randbytes(24)
        elif way == 4:
            data[position:position] = random_.randbytes(random_.randrange(1, 40))
        else:
            del data[position : position + random_.randrange(1, 40)]
    return model, bytes(data)


def test_mutated_files_end_in_the_right_symbols_or_a_clear_error() -> None:
    random_ = random.Random(0)
    whole = {data: symbols for _, data, symbols in originals()}
    refused, slowest = 0, 0.0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(COUNT):
        model, data = mutated(random_)
        started = time.process_time()
        try:
            _, symbols = model.read_symbols(io.BytesIO(data))
        except BitstreamError:
            refused += 1
        else:
            assert data in whole, "a changed file was taken for a whole one"
            assert np.array_equal(symbols, whole[data])
        slowest = max(slowest, time.process_time() - started)
    assert refused > 0.9 * COUNT
    assert slowest < HANG_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # kB


def test_payloads_that_no_encoder_wrote_end_in_audio_or_a_clear_error() -> None:
    """Behind right checksums: what a hostile writer, not an accident, would make."""
    random_ = random.Random(2)
    for _ in range(COUNT // 30):
        model, data, _ = random_.choice(originals())
        header = bitstream.read_header(io.BytesIO(data))
        header = dataclasses.replace(header, length=random_.randrange(1, 160_000))
        made = header.pack() + b"".join(
            bitstream.pack_chunk(header, number, random_.randbytes(random_.randrange(60)))
            for number in range(header.chunks)
        )
        try:
            back, _ = model.decompress(made)
        except BitstreamError:
            continue
        assert back.shape == (header.channels, header.length)


def test_skipping_damage_never_fails_once_the_header_is_whole() -> None:
    random_ = random.Random(1)
    whole = {data for _, data, _ in originals()}
    for _ in range(COUNT // 100):
        model, data = mutated(random_)
        lost: list = []
        try:
            header, parts = model.decompress_parts(io.BytesIO(data), lost)
        except BitstreamError:
            continue  # the header itself, or nothing behind it
        length = sum(part.shape[-1] for part in parts)
        assert length == header.length
        assert lost or data in whole


@pytest.mark.parametrize("which", [0, 2, 4])
def test_every_changed_byte_of_a_file_is_noticed(which: int) -> None:
    model, data, _ = originals()[which]
    step = 1 if which == 0 else 7
    for position in range(0, len(data), step):
        for flip in (1, 16, 255):
            damaged = bytearray(data)
            damaged[position] ^= flip
            with pytest.raises(BitstreamError):
                model.read_symbols(io.BytesIO(bytes(damaged)))


def test_every_single_byte_change_of_a_small_file_is_noticed() -> None:
    """All 255 of them at every place."""
    model = tiny_codec()
    data = model.compress(tone(0.04, 8_000), 8_000)
    for position in range(len(data)):
        for value in range(256):
            if value != data[position]:
                damaged = data[:position] + bytes([value]) + data[position + 1 :]
                with pytest.raises(BitstreamError):
                    model.read_symbols(io.BytesIO(damaged))
