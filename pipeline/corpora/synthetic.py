"""The embedded corpus: speech, music and general sounds, all made here from a seed.

The same seed gives the same samples. Speech is made in a process of its own, in a fixed order,
because espeak-ng's output depends on everything that the process spoke before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codec.errors import UserError
from codec.process import pool
from pipeline.corpora import Made, Settings, music, sounds
from pipeline.corpora.espeak import Espeak
from pipeline.corpora.manifest import Clip
from pipeline.stage import progress

MUSIC_RATE = 44_100
LICENCE = "generated"
_SHARES = {"speech": 0.5, "music": 0.25, "general": 0.25}


class Recipe(BaseModel):
    """A recipe file: who speaks, and what."""

    model_config = ConfigDict(extra="forbid")

    name: str
    voices: list[str] = Field(min_length=1)
    speech: dict[str, list[str]] = Field(min_length=1)


@dataclass(frozen=True)
class Utterance:
    """One sentence to speak: espeak-ng's settings and how long to go on."""

    language: str
    voice: str
    sentences: list[str]
    rate: int
    pitch: int
    pitch_range: int
    seconds: float


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file; UserError says what is wrong with it."""
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path}: not a recipe of the synthetic corpus: {first}") from error


def clips(settings: Settings) -> Iterator[Made]:
    """The clips of a recipe, as many and as long as the params say."""
    made = settings.corpus.synthetic
    count, seconds = made.test_clips, made.test_seconds
    if settings.split == "train":
        seconds = made.train_seconds
        count = max(4, round(made.train_minutes * 60 / seconds))
    for clip, waveform in progress(
        make(settings.path, settings.seed, count, seconds), count, settings.split
    ):
        yield clip, waveform, clip.sample_rate


def make(
    recipe_path: Path, seed: int, count: int, seconds: float
) -> Iterator[tuple[Clip, NDArray[np.float32]]]:
    """Yield ``count`` clips of about ``seconds`` each with their (1, samples) waveforms.

    Half are speech, a quarter music, a quarter general sounds, each with its own level.
    """
    recipe = load_recipe(recipe_path)
    # Recipes with other names get other pieces from the same seed.
    root = np.random.SeedSequence([seed, *recipe.name.encode()])
    speech_seed, music_seed, sounds_seed = root.spawn(3)
    numbers = {kind: max(1, round(count * share)) for kind, share in _SHARES.items()}
    yield from _speech(recipe, speech_seed, numbers["speech"], seconds)
    for index, child in enumerate(music_seed.spawn(numbers["music"])):
        rng = np.random.default_rng(child)
        waveform = level(rng, music.piece(rng, seconds, MUSIC_RATE))
        name = f"{recipe.name}-piece-{index:04d}"
        yield _clip("music", name, name, waveform, MUSIC_RATE), waveform
    for index, child in enumerate(sounds_seed.spawn(numbers["general"])):
        rng = np.random.default_rng(child)
        what, samples = sounds.scene(rng, seconds, MUSIC_RATE)
        waveform = level(rng, samples)
        name = f"{recipe.name}-{what}-{index:04d}"
        yield _clip("general", name, name, waveform, MUSIC_RATE), waveform


def _speech(
    recipe: Recipe, seed: np.random.SeedSequence, count: int, seconds: float
) -> Iterator[tuple[Clip, NDArray[np.float32]]]:
    rng = np.random.default_rng(seed)
    languages = list(recipe.speech)
    plan = [
        Utterance(
            language=(language := languages[index % len(languages)]),
            voice=recipe.voices[index % len(recipe.voices)],
            sentences=[str(text) for text in rng.permutation(recipe.speech[language])],
            rate=int(rng.integers(130, 200)),
            pitch=int(rng.integers(25, 75)),
            pitch_range=int(rng.integers(30, 80)),
            seconds=seconds,
        )
        for index in range(count)
    ]
    # A new process, and so espeak-ng's state, is new.
    with pool(1) as speaker:
        rate, spoken = speaker.submit(_speak_all, plan).result()
    for index, (utterance, samples) in enumerate(zip(plan, spoken, strict=True)):
        waveform = level(rng, samples.astype(np.float64))
        name = f"{recipe.name}-{utterance.language}-{utterance.voice}-{index:04d}"
        clip = _clip("speech", name, f"espeak-{utterance.voice}", waveform, rate)
        yield clip.model_copy(update={"language": utterance.language}), waveform


def _speak_all(plan: list[Utterance]) -> tuple[int, list[NDArray[np.float32]]]:
    espeak = Espeak()
    spoken = []
    for utterance in plan:
        parts: list[NDArray[np.float32]] = []
        wanted = int(utterance.seconds * espeak.sample_rate)
        while sum(map(len, parts)) < wanted:
            text = utterance.sentences[len(parts) % len(utterance.sentences)]
            parts.append(
                espeak.speak(
                    text,
                    utterance.language,
                    utterance.voice,
                    utterance.rate,
                    utterance.pitch,
                    utterance.pitch_range,
                )
            )
        spoken.append(np.concatenate(parts)[:wanted])
    return espeak.sample_rate, spoken


def level(rng: np.random.Generator, samples: NDArray[np.float64]) -> NDArray[np.float32]:
    """(samples,) to (1, samples) with a peak between −12 and −1 dB of full scale."""
    peak = 10 ** (rng.uniform(-12, -1) / 20)
    return (samples * (peak / max(1e-9, float(np.abs(samples).max()))))[None].astype(np.float32)


def _clip(kind: str, name: str, source: str, waveform: NDArray[np.float32], rate: int) -> Clip:
    return Clip(
        file=f"{kind}_{name}.flac",
        kind=kind,
        source=source,
        language="",
        sample_rate=rate,
        channels=1,
        seconds=waveform.shape[-1] / rate,
        licence=LICENCE,
        origin="synthetic",
    )
