import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.coding import range_coder
from codec.coding.tables import TOTAL, FrozenTables
from codec.errors import BitstreamError
from codec.nn.priors import FactorizedPrior
from pipeline.training import entropy


@pytest.fixture(scope="module")
def tables() -> FrozenTables:
    torch.manual_seed(0)
    return FactorizedPrior(4).freeze()


def laplace_tables(scales: list[float], reach: int = 200) -> FrozenTables:
    values = np.arange(-reach, reach + 1)
    masses = np.stack([np.exp(-np.abs(values) / scale) for scale in scales])
    return FrozenTables.from_masses(masses / masses.sum(axis=1, keepdims=True), -reach)


def test_tables_sum_to_the_coder_s_precision(tables: FrozenTables) -> None:
    for index in range(tables.rows):
        _, frequencies = tables.row(index)
        assert frequencies.sum() == TOTAL
        assert frequencies.min() >= 1


@given(
    symbols=hnp.arrays(
        np.int32,
        st.tuples(st.just(4), st.integers(1, 60)),
        elements=st.one_of(st.integers(-8, 8), st.integers(-(2**31), 2**31 - 1)),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_symbols_come_back(symbols: np.ndarray, tables: FrozenTables) -> None:
    data = range_coder.encode(symbols, tables)
    assert np.array_equal(range_coder.decode(data, symbols.shape[1], tables), symbols)


def test_payload_is_within_a_thousandth_of_the_ideal(rng: np.random.Generator) -> None:
    scales = [0.3, 1.0, 3.0, 10.0]
    tables = laplace_tables(scales)
    symbols = np.stack([np.rint(rng.laplace(0, scale, 20_000)) for scale in scales])
    symbols = symbols.astype(np.int32)
    payload_bits = 8 * len(range_coder.encode(symbols, tables))
    assert payload_bits == pytest.approx(tables.bits(symbols), rel=1e-3)


def test_rare_symbols_cost_what_the_table_says() -> None:
    """Frequencies reach the coder exactly, also where they are 1 of 2^24."""
    masses = np.array([[1 - 3e-6, 1e-6, 1e-6, 1e-6]])
    tables = FrozenTables.from_masses(masses, 0)
    symbols = np.full((1, 5_000), 2, np.int32)
    payload_bits = 8 * len(range_coder.encode(symbols, tables))
    assert payload_bits == pytest.approx(tables.bits(symbols), abs=64)


def test_truncated_payload_never_gives_other_lengths(tables: FrozenTables) -> None:
    symbols = np.random.default_rng(0).integers(-5, 6, (4, 50)).astype(np.int32)
    data = range_coder.encode(symbols, tables)
    for cut in range(len(data)):
        try:
            found = range_coder.decode(data[:cut], 50, tables)
        except BitstreamError:
            continue
        assert found.shape == symbols.shape


def test_frozen_tables_agree_with_the_density() -> None:
    torch.manual_seed(1)
    prior = FactorizedPrior(3)
    symbols = np.random.default_rng(0).integers(-6, 7, (3, 500)).astype(np.int32)
    with torch.no_grad():
        estimated = float(prior.bits(torch.from_numpy(symbols).float()[None]).sum())
    assert prior.freeze().bits(symbols) == pytest.approx(estimated, rel=1e-3)


def test_refining_the_prior_lowers_the_bits_towards_the_entropy() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    scales = [0.5, 2.0, 6.0]
    draw = lambda: np.stack([np.rint(rng.laplace(0, s, 8_000)) for s in scales]).astype(np.int32)  # noqa: E731
    fitting, held_out = draw(), draw()
    prior = FactorizedPrior(3)
    before, after = entropy.refine(prior, fitting, held_out, 400, learning_rate=0.02, seed=0)
    assert prior.freeze().bits(held_out) == after
    counts = [np.unique(row, return_counts=True)[1] / 8_000 for row in held_out]
    ideal = sum(8_000 * float(-(p * np.log2(p)).sum()) for p in counts)
    assert after < before
    assert after == pytest.approx(ideal, rel=0.03)


def test_refining_never_ends_worse_than_it_began() -> None:
    """Symbols that say nothing of the held-out ones must not spoil the prior."""
    torch.manual_seed(0)
    prior = FactorizedPrior(2)
    fitting = np.full((2, 500), 9, np.int32)
    held_out = np.random.default_rng(0).integers(-3, 4, (2, 500)).astype(np.int32)
    before, after = entropy.refine(prior, fitting, held_out, 60, learning_rate=0.05, seed=0)
    assert after <= before
    assert prior.freeze().bits(held_out) == after


def test_tables_hash_follows_their_content(tables: FrozenTables) -> None:
    other = laplace_tables([1.0, 1.0, 1.0, 1.0])
    assert tables.digest() == FrozenTables(*vars(tables).values()).digest()
    assert tables.digest() != other.digest()


def test_coding_a_channel_at_a_time_repeats_for_audio_channels(tables: FrozenTables) -> None:
    symbols = np.random.default_rng(0).integers(-5, 6, (8, 30)).astype(np.int32)
    doubled = tables.select([0, 1, 2, 3] * 2)
    assert doubled.bits(symbols) == pytest.approx(
        tables.bits(symbols[:4]) + tables.bits(symbols[4:])
    )
    data = range_coder.encode(symbols, doubled)
    assert np.array_equal(range_coder.decode(data, 30, doubled), symbols)
