import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.coding import ans, context, context_numpy
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
