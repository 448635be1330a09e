"""The codec as a library: waveforms in, bytes out."""

from codec.config import PRESETS, CodecConfig
from codec.model import AudioCodec, load

__all__ = ["PRESETS", "AudioCodec", "CodecConfig", "load"]
