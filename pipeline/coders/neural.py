"""Our codec as a coder."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codec import bitstream, checkpoint


class NeuralCoder:
    """One trained model with frozen tables."""

    suffix = ".rdc"

    def __init__(self, name: str, model: Path) -> None:
        self.name = name
        self.model = checkpoint.load(model)

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        return self.model.compress(waveform, sample_rate)

    def decode(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        return self.model.decompress(data)

    def payload_bytes(self, data: bytes) -> int:
        return bitstream.describe(io.BytesIO(data)).payload_bytes

    def estimated_bits(self, data: bytes) -> float | None:
        header, symbols = self.model.read_symbols(io.BytesIO(data))
        tables = self.model.frozen_tables().repeated(header.channels)
        return tables.bits(symbols.reshape(tables.channels, -1))

    def about(self) -> dict[str, object]:
        return {
            "coder": "rdcodec",
            "model": self.model.model_hash.hex(),
            "tables": self.model.frozen_tables().digest().hex(),
            "sample_rate": self.model.config.sample_rate,
        }
