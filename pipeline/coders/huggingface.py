"""EnCodec and DAC as peers, through Hugging Face's transformers, where their weights are at hand.

Both give indices of residual codebooks, which go into files as fixed-length codes: that is what
these codecs' own bitrates count.
"""

import struct
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import audio
from codec.errors import UserError
from pipeline.coders import Coder, Cost

_HEADER = struct.Struct("<BBI")


class _CodebookCoder(Coder):
    """A codec whose latent is (codebooks, frames) indices of ``bits`` each, one channel at a time.

    A file is channels, codebooks and samples at the codec's rate (6 bytes), then the indices.
    """

    suffix = ".codes"
    architecture = ""
    default = ""

    def __init__(self, weights: str = "") -> None:
        import transformers

        self.weights = weights or self.default
        try:
            # From this machine alone: a bench that downloads is no bench.
            found: Any = getattr(transformers, self.architecture).from_pretrained(
                self.weights, local_files_only=True
            )
        except OSError as error:
            raise UserError(
                f"{self.weights}: the weights of {self.architecture} are not on this machine; "
                "download them once (huggingface-cli download), or give their folder as `weights`"
            ) from error
        self.model = found.eval()
        self.rate = int(self.model.config.sampling_rate)
        self.bits = int(self.model.config.codebook_size - 1).bit_length()

    def _indices(self, waveform: Tensor) -> Tensor:
        """(1, 1, samples) at the codec's rate to (codebooks, frames)."""
        raise NotImplementedError

    def _waveform(self, indices: Tensor) -> Tensor:
        """(codebooks, frames) to (samples,)."""
        raise NotImplementedError

    @torch.inference_mode()
    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        wave = torch.from_numpy(audio.resample(waveform, sample_rate, self.rate))
        codes = torch.stack([self._indices(channel[None, None]) for channel in wave]).numpy()
        digits = codes[..., None] >> np.arange(self.bits)[::-1] & 1
        head = _HEADER.pack(len(wave), codes.shape[1], wave.shape[-1])
        return head + np.packbits(digits.astype(np.uint8)).tobytes()

    @torch.inference_mode()
    def decode(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        channels, codebooks, samples = _HEADER.unpack_from(data)
        digits = np.unpackbits(np.frombuffer(data[_HEADER.size :], np.uint8))
        frames = len(digits) // (channels * codebooks * self.bits)
        digits = digits[: channels * codebooks * frames * self.bits]
        powers = 1 << np.arange(self.bits)[::-1]
        codes = digits.reshape(channels, codebooks, frames, self.bits).astype(np.int64) @ powers
        waves = [self._waveform(torch.from_numpy(part)).numpy() for part in codes]
        return audio.fit_length(np.stack(waves), samples), self.rate

    def payload_bytes(self, data: bytes) -> int:
        return len(data) - _HEADER.size

    def cost(self, channels: int) -> Cost:
        return Cost(parameters=sum(parameter.numel() for parameter in self.model.parameters()))

    def about(self) -> dict[str, object]:
        return {
            "coder": f"{self.architecture}, transformers {version('transformers')}",
            "weights": self.weights,
        }


class EncodecCoder(_CodebookCoder):
    """EnCodec at 24 kHz (Défossez et al., 2022) at 1.5, 3, 6, 12 or 24 kbps, no entropy coding."""

    architecture, default = "EncodecModel", "facebook/encodec_24khz"

    def __init__(self, kbps: float, weights: str = "") -> None:
        super().__init__(weights)
        allowed = self.model.config.target_bandwidths
        if kbps not in allowed:
            raise UserError(f"coders: encodec: kbps {kbps:g} is none of {allowed}")
        self.kbps = kbps

    def _indices(self, waveform: Tensor) -> Tensor:
        codes: Tensor = self.model.encode(waveform, bandwidth=self.kbps).audio_codes[0, 0]
        return codes

    def _waveform(self, indices: Tensor) -> Tensor:
        wave: Tensor = self.model.decode(indices[None, None], [None]).audio_values[0, 0]
        return wave

    def about(self) -> dict[str, object]:
        return super().about() | {"nominal_kbps": self.kbps}


class DacCoder(_CodebookCoder):
    """The Descript audio codec at 24 kHz (Kumar et al., 2023) with its first codebooks."""

    architecture, default = "DacModel", "descript/dac_24khz"

    def __init__(self, codebooks: int, weights: str = "") -> None:
        super().__init__(weights)
        if not 1 <= codebooks <= self.model.config.n_codebooks:
            raise UserError(
                f"coders: dac: codebooks {codebooks} is not 1 to {self.model.config.n_codebooks}"
            )
        self.codebooks = codebooks

    def _indices(self, waveform: Tensor) -> Tensor:
        missing = -waveform.shape[-1] % self.model.config.hop_length
        padded = torch.nn.functional.pad(waveform, (0, missing))
        codes: Tensor = self.model.encode(padded, n_quantizers=self.codebooks).audio_codes[0]
        return codes[: self.codebooks]

    def _waveform(self, indices: Tensor) -> Tensor:
        wave: Tensor = self.model.decode(audio_codes=indices[None]).audio_values
        return wave.reshape(-1)

    def about(self) -> dict[str, object]:
        return super().about() | {"codebooks": self.codebooks}
