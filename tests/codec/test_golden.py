"""Files that earlier versions wrote must decode to the same symbols.

After a change of format or tables that is meant: raise VERSION in codec/coding/bitstream.py
(layout) or FORMAT in codec/checkpoint.py (models), say so in CHANGELOG.md, and write the files
anew with `python -m tests.codec.test_golden`.
"""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import codec as library
from codec import checkpoint
from codec.coding import bitstream
from tests.conftest import CONFIGS, ROOT, TRANSFORM, tiny_codec

GOLDEN = ROOT / "tests" / "golden"
GOLDEN_CONFIGS = CONFIGS | {"transform": TRANSFORM}
ADVICE = "the format or the tables changed; tests/codec/test_golden.py says what to do"


def facts(model_path: Path, data: bytes) -> dict[str, object]:
    """What must not change: the header, and the symbols as a sum that sees every one."""
    header, symbols = library.load(model_path).read_symbols(io.BytesIO(data))
    weights = np.arange(1, symbols.size + 1, dtype=np.int64) % 9973
    return {
        "tables": header.tables_hash.hex(),
        "model": header.model_hash.hex(),
        "length": header.length,
        "shape": list(symbols.shape),
        "sum": int((symbols.ravel().astype(np.int64) * weights).sum()),
        "escapes": int((np.abs(symbols) > 2**20).sum()),
    }


def write() -> None:
    GOLDEN.mkdir(exist_ok=True)
    expected = {}
    for name, config in GOLDEN_CONFIGS.items():
        model = tiny_codec(config)
        checkpoint.save(model, GOLDEN / f"{name}.safetensors")
        model = library.load(GOLDEN / f"{name}.safetensors")
        rng = np.random.default_rng(3)
        wave = rng.laplace(0, 0.2, (2, 12 * 11_025)).astype(np.float32)
        data = model.compress(wave, 11_025)
        (GOLDEN / f"{name}.rdc").write_bytes(data)
        expected[name] = facts(GOLDEN / f"{name}.safetensors", data)
    (GOLDEN / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


@pytest.mark.parametrize("name", GOLDEN_CONFIGS)
def test_golden_files_decode_to_the_same_symbols(name: str) -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text())[name]
    data = (GOLDEN / f"{name}.rdc").read_bytes()
    assert data[3] == bitstream.VERSION, ADVICE
    assert facts(GOLDEN / f"{name}.safetensors", data) == expected, ADVICE


@pytest.mark.parametrize("name", ["spectral", "transform"])
@pytest.mark.parametrize("threads", ["1", "2", "8"])
def test_a_fresh_process_reads_the_same_with_any_threads(threads: str, name: str) -> None:
    code = (
        "import json, sys; from pathlib import Path; from tests.codec.test_golden import *;"
        f"print(json.dumps(facts(GOLDEN / '{name}.safetensors', "
        f"(GOLDEN / '{name}.rdc').read_bytes())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = json.loads((GOLDEN / "expected.json").read_text())[name]
    assert json.loads(done.stdout) == expected, ADVICE


if __name__ == "__main__":
    write()
