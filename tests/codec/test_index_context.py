"""The context model of a residual quantizer's indices."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import checkpoint
from codec.coding import index_context
from codec.coding.index_context import IndexTables
from codec.errors import BitstreamError, UserError
from tests.conftest import INDICES, RESIDUAL, tiny_codec, tone, wandering

SIZE = 16


TABLES = index_context.fit([wandering(3, SIZE, 3_000)], SIZE)


@given(
    groups=st.integers(1, 3), rows=st.integers(1, 3), frames=st.integers(1, 60),
    seed=st.integers(0, 9),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_indices_come_back_and_cost_what_was_estimated(
    groups: int, rows: int, frames: int, seed: int
) -> None:
    likely = np.stack([wandering(rows, SIZE, frames, seed + group) for group in range(groups)])
    unlikely = np.random.default_rng(seed).integers(0, SIZE, likely.shape, np.int32)
    for symbols in (likely, unlikely):
        layers = index_context.encode(symbols, TABLES)
        found = index_context.decode(layers, groups, frames, TABLES)
        assert np.array_equal(found, symbols)
        bits = index_context.symbol_bits(symbols, TABLES).sum(axis=(0, 2))
        for layer, estimated in zip(layers, bits, strict=True):
            assert 8 * len(layer) == pytest.approx(estimated, rel=0.001, abs=24)


def test_a_layer_hangs_on_those_before_it_alone() -> None:
    symbols = wandering(3, SIZE, 80)[None]
    layers = index_context.encode(symbols, TABLES)
    assert index_context.encode(symbols[:, :2], TABLES) == layers[:2]
    assert np.array_equal(index_context.decode(layers[:2], 1, 80, TABLES), symbols[:, :2])


def test_what_neighbours_tell_is_learned() -> None:
    """Of four bits that an index costs alone, most of what the source does not draw is saved."""
    held_out = wandering(3, SIZE, 2_000, seed=5)
    bits = index_context.symbol_bits(held_out[None], TABLES).mean(axis=(0, 2))
    assert bits.max() < 2.6
    assert bits[0] < 1.5  # the source's own entropy is a bit
    alone = index_context.independent(np.full((3, SIZE), 1 / SIZE))
    assert index_context.symbol_bits(held_out[None], alone).mean() == pytest.approx(4, abs=0.01)


def test_many_indices_share_classes() -> None:
    """More neighbours than tables: those that are followed by the same are one class."""
    size = 4_096
    steps = np.random.default_rng(0).integers(0, 4, 60_000)
    source = np.cumsum(steps).astype(np.int32) % 64 * 64  # few of the entries are in use
    found = index_context.fit([np.stack((source, source))], size)
    assert found.frequencies.shape == (2, index_context.ENTRIES // size, size)
    bits = index_context.symbol_bits(np.stack((source, source))[None], found).mean(axis=(0, 2))
    assert bits.max() < 4  # of 64 entries that are in use alike


@given(data=st.binary(max_size=40), frames=st.integers(1, 50))
@settings(deadline=None)
def test_bytes_of_no_encoder_are_refused_or_read(data: bytes, frames: int) -> None:
    try:
        found = index_context.decode([data], 2, frames, TABLES)
    except BitstreamError:
        return
    assert found.min() >= 0
    assert found.max() < SIZE


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("before", lambda part: part + 10_000, "choose tables outside"),
        ("above", lambda part: part - 1, "choose tables outside"),
        ("above", lambda part: part[:, 1:], "a map of classes is"),
        ("frequencies", lambda part: part * 0, "not positive"),
        ("frequencies", lambda part: part[..., 0], "have 3 dimensions"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: str, change: object, message: str) -> None:
    arrays = TABLES.arrays()
    assert IndexTables.from_arrays(arrays).digest() == TABLES.digest()
    with pytest.raises(ValueError, match=message):
        IndexTables.from_arrays(arrays | {part: change(arrays[part])})  # type: ignore[operator]
    with pytest.raises(ValueError, match="tables of indices have"):
        IndexTables.from_arrays({"before": arrays["before"]})


def test_a_model_keeps_its_tables(tmp_path: Path) -> None:
    path, wave = tmp_path / "model.safetensors", tone(0.7, 8_000)
    model = tiny_codec(INDICES)
    checkpoint.save(model, path)
    loaded = checkpoint.load(path)
    assert loaded.frozen_tables().digest() == model.frozen_tables().digest()
    _, symbols = loaded.read_symbols(io.BytesIO(loaded.compress(wave, 8_000)))
    assert np.array_equal(symbols, model.symbols(wave))
    other = tiny_codec(RESIDUAL)
    other.tables = model.tables
    checkpoint.save(other, path)
    with pytest.raises(UserError, match="config and weights do not fit"):
        checkpoint.load(path)
