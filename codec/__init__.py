"""The codec as a library: waveforms in, bytes out."""

from typing import TYPE_CHECKING, Any

from codec.config import PRESETS, CodecConfig

if TYPE_CHECKING:
    from codec.model import AudioCodec, load

__all__ = ["PRESETS", "AudioCodec", "CodecConfig", "__version__", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and the command line and params need the presets only.
    if name in ("AudioCodec", "load"):
        from codec import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
