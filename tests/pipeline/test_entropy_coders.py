import numpy as np
import pytest

from codec.coding import context
from codec.coding.tables import FrozenTables
from pipeline.coders import entropy_coders
from pipeline.stages.symbols import row_bits
from tests.codec.test_context import some_symbols, weights


def skewed(count: int, seed: int) -> np.ndarray:
    """(2, count): shares of 1/2, 1/4, 1/8, 1/8, and of 1/4 each: Huffman is perfect for both."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.choice(4, count, p=[0.5, 0.25, 0.125, 0.125]), rng.integers(0, 4, count)]
    ).astype(np.int32)


def bits_of(training: np.ndarray, clips: list[np.ndarray], size: int | None) -> dict[str, float]:
    prior = entropy_coders.fit_histogram(training, size)
    table = entropy_coders.measure(training, [(clip, 0) for clip in clips], prior, size)
    assert list(table.bits_per_symbol * sum(c.size for c in clips)) == pytest.approx(table.bits)
    return dict(zip(table.coder, table.bits_per_symbol, strict=True))


def test_huffman_meets_the_entropy_where_shares_are_powers_of_two() -> None:
    found = bits_of(skewed(60_000, 0), [skewed(20_000, 1)], 4)
    assert found["fixed length"] == 2
    assert found["Huffman"] == pytest.approx((1.75 + 2) / 2, rel=0.01)
    assert found["static histogram"] == pytest.approx((1.75 + 2) / 2, rel=0.01)
    assert found["factorized prior"] == found["static histogram"]


def test_range_coding_beats_huffman_where_a_symbol_is_nearly_certain() -> None:
    rng = np.random.default_rng(0)
    rare = lambda: (rng.random((3, 20_000)) < 0.02).astype(np.int32)  # noqa: E731
    found = bits_of(rare(), [rare()], 2)
    assert found["fixed length"] == 1
    assert found["Huffman"] == pytest.approx(1, rel=0.05)
    assert found["static histogram"] == pytest.approx(0.1414, rel=0.05)


def test_what_training_never_had_is_escaped_in_every_code() -> None:
    training = np.zeros((1, 1_000), np.int32)
    training[0, ::2] = 1
    clip = np.array([[0, 1, 77, 0]], np.int32)
    found = bits_of(training, [clip], None)
    # Two bits for three entries (0, 1, escape), and 32 for the value.
    assert found["fixed length"] == (4 * 2 + 32) / 4
    assert 32 / 4 < found["Huffman"] <= found["fixed length"]
    assert found["static histogram"] > 32 / 4


def test_a_model_s_tables_are_measured_by_their_bytes() -> None:
    masses = np.tile([0.9, 0.1], (1, 1))
    tables = FrozenTables.from_masses(masses, 0)
    clip = (np.random.default_rng(0).random((1, 8_000)) < 0.1).astype(np.int32)
    table = entropy_coders.measure(clip, [(clip, 0)], tables, 2).set_index("coder")
    assert table.bits["factorized prior"] == pytest.approx(tables.bits(clip), abs=8)
    assert table.bits["factorized prior"] % 8 == 0


def test_a_context_model_is_measured_by_its_bytes_and_row_by_row() -> None:
    tables = context.freeze(weights())
    first, second = some_symbols(200)
    table = entropy_coders.measure(first, [(first, 0), (second, 2)], tables, None)
    bits = dict(zip(table.coder, table.bits, strict=True))
    assert list(bits) == ["fixed length", "Huffman", "static histogram", "context model"]
    expected = [context.bits(first[None], 0, tables), context.bits(second[None], 2, tables)]
    assert bits["context model"] == pytest.approx(sum(expected), rel=0.01)
    rows = row_bits([(first, 0), (second, 2)], tables)
    assert rows.shape == (first.shape[0],)
    assert rows.sum() == pytest.approx(sum(expected))
    # A row that is always zero costs less than one that is not.
    quiet = first.copy()
    quiet[3] = 0
    assert row_bits([(quiet, 0)], tables)[3] < row_bits([(first, 0)], tables)[3]
