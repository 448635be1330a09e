"""Our codec as a coder."""

import io

import numpy as np
from numpy.typing import NDArray

from codec import checkpoint
from codec.coding import bitstream
from codec.errors import UserError
from pipeline.coders import Coder, Cost, Timeline, networks


class NeuralCoder(Coder):
    """One trained model with frozen tables, with all its codebooks or the first of them.

    ``weights`` is a released name, a model folder or a model file. Of a model of many rates,
    ``level`` is one for all files, or ``kbps`` the rate to which each file's own level comes
    nearest. With ``perceptual`` files are the same, and the second decoder decodes them.
    """

    suffix = ".rdc"

    def __init__(
        self,
        weights: str,
        codebooks: int | None = None,
        level: int | None = None,
        kbps: float | None = None,
        perceptual: bool = False,
    ) -> None:
        self.codebooks, self.level, self.kbps = codebooks, level, kbps
        self.perceptual = perceptual
        self.model = checkpoint.load(checkpoint.find(weights))
        if perceptual and self.model.perceptual is None:
            raise UserError(f"{weights}: has no perceptual decoder")

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        return self.model.compress(waveform, sample_rate, self.codebooks, self.level, self.kbps)

    def decode(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        return self.model.decompress(data, self.perceptual)

    def payload_bytes(self, data: bytes) -> int:
        return bitstream.describe(io.BytesIO(data)).payload_bytes

    def estimated_bits(self, data: bytes) -> float | None:
        header, symbols = self.model.read_symbols(io.BytesIO(data))
        return float(self.model.bits(symbols, header.level).sum())

    def timeline(self, data: bytes) -> Timeline | None:
        """By the entropy model: the range coder spreads a symbol's bits over its bytes."""
        header, symbols = self.model.read_symbols(io.BytesIO(data))
        bits = self.model.bits(symbols, header.level)
        return np.arange(len(bits)) / self.model.config.frame_rate, bits

    def cost(self, channels: int) -> Cost:
        return networks.cost_of(self.model, channels, self.perceptual)

    def about(self) -> dict[str, object]:
        config = self.model.config
        codebooks = self.codebooks or config.codebooks
        return {
            "coder": "rdcodec",
            "model": self.model.model_hash.hex(),
            "tables": self.model.frozen_tables().digest().hex(),
            "sample_rate": config.sample_rate,
            "decoder": "perceptual" if self.perceptual else "plain",
            "quantizer": f"residual, {codebooks} codebooks" if self.model.layered else "scalar",
        }
