import dataclasses
import functools
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.coding import context, context_numpy, context_tables
from codec.coding.ans import TOTAL
from codec.coding.context_tables import CELLS, ContextTables
from codec.errors import BitstreamError
from tests.conftest import ROOT

CHANNELS, LEVELS, GROUPS, HIDDEN, UNITS = 16, 3, 4, 24, 8
EXTREMES = st.one_of(st.integers(-3, 3), st.integers(-300, 300), st.integers(-(2**31), 2**31 - 1))


def weights(seed: int = 0, spread: float = 0.3, channels: int = CHANNELS) -> dict[str, np.ndarray]:
    """A made-up network of which every part matters."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(0, spread, shape).astype(np.float32)  # noqa: E731
    order = rng.permutation(channels)
    group = np.empty(channels, int)
    group[order] = np.repeat(np.arange(GROUPS), channels // GROUPS)
    earlier = np.tile(group, 3) < np.arange(GROUPS)[:, None, None]
    outputs = (GROUPS, 2 * channels // GROUPS)
    return {
        "order": order,
        "W1": draw(HIDDEN, 7 * channels + channels // 4),
        "B1": draw(LEVELS, HIDDEN),
        "start": np.abs(draw(LEVELS, channels // 8)),
        "U": draw(GROUPS, UNITS, HIDDEN),
        "V": draw(GROUPS, UNITS, 3 * channels) * earlier,
        "b": draw(LEVELS, GROUPS, UNITS),
        "O": draw(*outputs, UNITS),
        "o": draw(*outputs) - np.repeat([0, 1], channels // GROUPS),
    }


def some_symbols(frames: int = 60, groups: int = 2, channels: int = CHANNELS) -> np.ndarray:
    """Mostly zeros, in bursts, with a few escapes."""
    rng = np.random.default_rng(1)
    loud = rng.random((groups, 1, frames)) < 0.5
    symbols = np.rint(rng.laplace(0, 0.4 + 2 * loud, (groups, channels, frames)))
    symbols[:, :, ::17] *= rng.integers(1, 90_000, symbols[:, :, ::17].shape)
    return symbols.astype(np.int32)


@pytest.fixture(scope="module")
def tables() -> ContextTables:
    return context.freeze(weights())


@pytest.fixture(params=["numba", "numpy"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    monkeypatch.setenv("RDCODEC_NUMBA", "1" if request.param == "numba" else "0")
    return request.param


def test_symbols_come_back(arithmetic: str, tables: ContextTables) -> None:
    symbols = some_symbols()
    data = context.encode(symbols, 1, tables)
    assert np.array_equal(context.decode(data, 2, 60, 1, tables), symbols)


def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Numba's arithmetic, then numpy's."""
    pytest.importorskip("numba", reason="numba is not installed")
    for switch in ("1", "0"):
        monkeypatch.setenv("RDCODEC_NUMBA", switch)
        yield switch


@functools.cache
def frozen(seed: int, spread: float) -> ContextTables:
    return context.freeze(weights(seed, spread))


@given(
    seed=st.integers(0, 9),
    spread=st.sampled_from([0.0, 0.1, 0.5, 2.0]),
    level=st.integers(0, LEVELS - 1),
    symbols=hnp.arrays(
        np.int32,
        st.tuples(st.integers(1, 2), st.just(CHANNELS), st.integers(0, 12)),
        elements=EXTREMES,
        fill=st.just(0),
    ),
)
@settings(max_examples=40, deadline=None)
def test_any_symbols_come_back_and_both_ways_write_the_same_bytes(
    seed: int, spread: float, level: int, symbols: np.ndarray
) -> None:
    tables = frozen(seed, spread)
    groups, _, frames = symbols.shape
    with pytest.MonkeyPatch.context() as monkeypatch:
        written = [context.encode(symbols, level, tables) for _ in both(monkeypatch)]
        assert written[0] == written[1]
        for _ in both(monkeypatch):
            found = context.decode(written[0], groups, frames, level, tables)
            assert np.array_equal(found, symbols)


def test_payload_is_as_long_as_the_bits_say(tables: ContextTables) -> None:
    """Within the last byte: the coder starts empty and ends with what its state needs."""
    symbols = some_symbols(groups=3)
    data = context.encode(symbols, 0, tables)
    estimated = context.bits(symbols, 0, tables)
    assert estimated == pytest.approx(8 * len(data), rel=1e-3, abs=8)
    assert context.symbol_bits(symbols, 0, tables).shape == symbols.shape
    assert context.bits(symbols, 2, tables) != estimated


def test_groups_know_nothing_of_each_other(tables: ContextTables) -> None:
    symbols = some_symbols()
    apart = sum(context.bits(group[None], 1, tables) for group in symbols)
    assert context.bits(symbols, 1, tables) == pytest.approx(apart)


def test_nothing_takes_one_byte(arithmetic: str, tables: ContextTables) -> None:
    empty = np.empty((1, CHANNELS, 0), np.int32)
    data = context.encode(empty, 0, tables)
    assert len(data) == 1
    assert context.decode(data, 1, 0, 0, tables).shape == empty.shape


def test_products_in_float64_give_the_same(
    tables: ContextTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = some_symbols()[0].T.copy()
    found = context_numpy.contexts(tables, symbols, 1)
    monkeypatch.setattr(context_numpy, "PRODUCTS", np.float64)
    assert np.array_equal(context_numpy.contexts(tables, symbols, 1), found)


def test_sums_at_the_limit_of_24_bits_are_exact() -> None:
    """The largest weights that freeze, and the largest symbols: still no rounding anywhere."""
    large = weights()
    for name in ("W1", "U", "V"):
        large[name] *= 127 / np.abs(large[name]).max()
    tables = context.freeze(large)
    assert not tables.shifts[:4].any()
    symbols = np.random.default_rng(0).integers(-9, 10, (40, CHANNELS)).astype(np.int32)
    found = context_numpy.contexts(tables, symbols, 0)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(context_numpy, "PRODUCTS", np.float64)
        assert np.array_equal(context_numpy.contexts(tables, symbols, 0), found)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("W1", 200.0, "weights are too large"),
        ("O", -200.0, "weights are too large"),
        ("B1", 1e8, "biases of a context model are too large"),
        ("b", 1e12, "biases of a context model are too large"),
        ("U", np.nan, "not finite"),
        ("order", 0, "not a permutation"),
    ],
)
def test_what_could_overflow_is_not_frozen(name: str, value: float, reason: str) -> None:
    made = weights()
    made[name] = made[name].copy()
    made[name].flat[:2] = value
    with pytest.raises(ValueError, match=reason):
        context.freeze(made)


def test_sums_beyond_24_or_32_bits_are_refused(tables: ContextTables) -> None:
    wide = weights(channels=1024)
    wide["W1"] = np.where(wide["W1"] > 0, 120.0, -120.0)  # no room for a smaller scale
    with pytest.raises(ValueError, match="too large"):
        context.freeze(wide)
    frozen = context.freeze(weights(channels=1024))
    full = np.full_like(frozen.averages, -128)
    with pytest.raises(ValueError, match="24 bits"):
        context_tables.check(dataclasses.replace(frozen, averages=full))
    high = np.full_like(tables.group_bias, 2**31 - 1)
    with pytest.raises(ValueError, match="32 bits"):
        context_tables.check(dataclasses.replace(tables, group_bias=high))


def test_tables_are_counted_anew() -> None:
    tables = context.freeze(weights(seed=3))
    symbols = some_symbols(frames=400)
    counted = context.recount(tables, [(symbols[:1], 0), (symbols[:1], 1)])
    assert context.bits(symbols[1:], 0, counted) < 0.99 * context.bits(symbols[1:], 0, tables)
    assert counted.digest() != tables.digest()
    data = context.encode(symbols, 0, counted)
    assert np.array_equal(context.decode(data, 2, 400, 0, counted), symbols)


def test_arrays_hold_everything(tables: ContextTables) -> None:
    arrays = {name: part.copy() for name, part in tables.arrays().items()}
    again = ContextTables.from_arrays(arrays)
    assert again.digest() == tables.digest()
    assert context.encode(some_symbols(), 1, again) == context.encode(some_symbols(), 1, tables)
    for name, part in arrays.items():
        part.flat[-1] ^= 1
        changed = ContextTables(**arrays)
        assert changed.digest() != tables.digest(), name
        part.flat[-1] ^= 1


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ContextTables)])
def test_arrays_that_would_lead_out_of_bounds_are_refused(name: str, tables: ContextTables) -> None:
    """Of a damaged or hostile model file: by their shape, and by their numbers where these lead."""
    arrays = dict(tables.arrays())
    arrays[name] = arrays[name][:-1]
    with pytest.raises(ValueError, match="context model"):
        ContextTables.from_arrays(arrays)
    if name in ("order", "start", "shifts", "lowest", "starts", "frequencies"):
        arrays[name] = tables.arrays()[name].copy()
        arrays[name][..., -1] = -(2**30)
        with pytest.raises(ValueError, match="context model"):
            ContextTables.from_arrays(arrays)


def test_a_level_that_the_model_has_not_is_refused(tables: ContextTables) -> None:
    with pytest.raises(ValueError, match="level 3"):
        context.encode(some_symbols(), LEVELS, tables)


def test_bytes_that_no_encoder_wrote_end_in_symbols_or_a_clear_error(
    arithmetic: str, tables: ContextTables
) -> None:
    """RDCODEC_FUZZ sets how many."""
    random_ = random.Random(0)
    whole = context.encode(some_symbols(frames=8), 1, tables)
    refused = 0
    count = int(os.environ.get("RDCODEC_FUZZ", "3000")) // (100 if arithmetic == "numpy" else 10)
    for _ in range(count):
        data = bytearray(whole)
        match random_.randrange(4):
            case 0:
                data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
            case 1:
                del data[random_.randrange(len(data)) :]
            case 2:
                data[random_.randrange(len(data)) :] = random_.randbytes(random_.randrange(1, 40))
            case 3:
                data = bytearray(random_.randbytes(random_.randrange(60)))
        try:
            found = context.decode(bytes(data), 2, 8, 1, tables)
        except BitstreamError:
            refused += 1
            continue
        assert found.shape == (2, CHANNELS, 8)
    assert refused > 0.7 * count  # the rest is the checksum of the chunk to see


def test_damage_is_seen_alike_with_and_without_numba(
    tables: ContextTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_ = random.Random(1)
    for _ in range(60):
        data = random_.randbytes(random_.randrange(1, 30))
        ends = []
        for _ in both(monkeypatch):
            try:
                ends.append(context.decode(data, 1, 3, 0, tables).tolist())
            except BitstreamError as error:
                ends.append(str(error))
        assert ends[0] == ends[1]


GOLDEN = ROOT / "tests" / "golden" / "context.json"


def golden() -> dict[str, str]:
    """Name and bytes of a network made of whole numbers alone, the same on every machine."""

    def mixed(*shape: int, reach: int) -> np.ndarray:
        numbers = np.arange(1, 1 + np.prod(shape), dtype=np.int64).reshape(shape)
        return numbers * 2654435761 % 2**32 % (2 * reach + 1) - reach

    bytes_ = lambda *shape: mixed(*shape, reach=127).astype(np.int8)  # noqa: E731
    ints = lambda *shape, reach: mixed(*shape, reach=reach).astype(np.int32)  # noqa: E731
    entries = 100 + np.abs(mixed(CELLS, 5, reach=8_000))
    entries = np.column_stack((entries, TOTAL - entries.sum(axis=1)))
    inside = bytes_(3, CHANNELS, GROUPS * UNITS)
    inside *= np.repeat(np.arange(GROUPS), UNITS) > np.arange(CHANNELS)[:, None] // GROUPS
    tables = ContextTables(
        order=(np.arange(CHANNELS, dtype=np.int32) * 5 + 3) % CHANNELS,
        start=np.abs(ints(LEVELS, CHANNELS // 8, reach=1 << 18)),
        past=bytes_(2, 3, CHANNELS, HIDDEN),
        averages=bytes_(CHANNELS + CHANNELS // 4, HIDDEN),
        shared_bias=ints(LEVELS, HIDDEN, reach=20_000),
        shared=bytes_(HIDDEN, GROUPS * UNITS),
        inside=inside,
        group_bias=ints(LEVELS, GROUPS * UNITS, reach=20_000),
        out=bytes_(GROUPS, UNITS, 2 * CHANNELS // GROUPS),
        out_bias=ints(GROUPS, 2 * CHANNELS // GROUPS, reach=60_000),
        shifts=np.array([5, 4, 7, 8, 6, 7], np.int32),
        lowest=np.repeat(np.int32(-2), CELLS),
        starts=np.arange(CELLS + 1, dtype=np.int32) * 6,
        frequencies=entries.ravel().astype(np.int32),
    )
    context_tables.check(tables)
    symbols = ints(2, CHANNELS, 50, reach=2**30)
    symbols = np.where(symbols % 7 < 5, 0, symbols % 11 - 5 + symbols * (symbols % 97 == 0))
    data = context.encode(symbols.astype(np.int32), 2, tables)
    assert np.array_equal(context.decode(data, 2, 50, 2, tables), symbols)
    return {"tables": tables.digest().hex(), "payload": data.hex()}


def test_golden_payload_stays_the_same(arithmetic: str) -> None:
    """Where a change is meant: write it anew with `python -m tests.codec.test_context`.

    And raise FORMAT in codec/checkpoint.py, so that no model of before is taken for one of now.
    """
    assert golden() == json.loads(GOLDEN.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "machine",
    [
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "8"},
        {"RDCODEC_NUMBA": "0", "OMP_NUM_THREADS": "2"},
        {"RDCODEC_NUMBA": "0", "OPENBLAS_CORETYPE": "Prescott"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_CPU_FEATURES": "+sse4.2,+avx,-avx2,-avx512f"},
        {"NUMBA_OPT": "0"},
    ],
    ids=str,
)
def test_other_machines_write_and_read_the_same(machine: dict[str, str], tmp_path: Path) -> None:
    """Threads, numba or not, and instruction sets, each in a fresh process."""
    code = (
        "import json; from tests.codec.test_context import *;"
        "tables, symbols = context.freeze(weights()), some_symbols();"
        "data = context.encode(symbols, 1, tables);"
        "assert np.array_equal(context.decode(data, 2, 60, 1, tables), symbols);"
        "print(json.dumps(golden()))"
    )
    if any(name.startswith("NUMBA") for name in machine):  # else what is compiled may be kept
        machine = {**machine, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **machine},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == json.loads(GOLDEN.read_text())


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    """As in a read-only installation, with a home that is not there."""
    pytest.importorskip("numba", reason="numba is not installed")
    code = (
        "import numba, numba.core.caching as caching;"
        "caching.CacheImpl._locator_classes = [];"
        "from codec.coding import context_numba;"
        "print(context_numba._push_all.stats.cache_path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n")
