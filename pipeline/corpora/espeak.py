"""Speech from espeak-ng, through ctypes: the library and its voices come from a PyPI wheel."""

import ctypes

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

from codec.errors import UserError

# Values of enums in espeak-ng's speak_lib.h.
_SYNCHRONOUS = 2
_CHARACTERS = 1
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """The synthesizer, of which a process can hold one."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        if self.sample_rate <= 0:
            raise RuntimeError("espeak-ng did not start: its data folder may be damaged")
        # Breath and whisper are noise, which espeak-ng otherwise seeds by the clock.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._parts: list[NDArray[np.int16]] = []
        # Kept as an attribute: the library calls it long after this line.
        self._callback = _CALLBACK(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _: object) -> int:
        if samples and count:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(
        self, text: str, language: str, voice: str, rate: int, pitch: int, pitch_range: int
    ) -> NDArray[np.float32]:
        """(samples,) at ``sample_rate``. ``rate`` in words a minute, pitch and range in 0 to 99."""
        name = f"{language}+{voice}"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise UserError(f"espeak-ng has no voice {name}; the recipe names it")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._parts = []
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, _CHARACTERS, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._parts:
            raise RuntimeError(f"espeak-ng said nothing for {text!r} as {name}")
        return (np.concatenate(self._parts) / 32768).astype(np.float32)
