"""Any folder, or any manifest.csv, of audio files."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codec import audio
from codec.errors import AudioError, UserError
from pipeline.corpora import Made, Settings, ahead
from pipeline.corpora.manifest import FILE_NAME, KINDS, Clip
from pipeline.process import die_with_parent
from pipeline.stage import cores, progress

SOURCE_COLUMNS = ("source", "speaker", "recording", "speaker_or_recording_id")
"""Columns of a manifest that may name the speaker or recording, the first one found counts."""
ORIGIN_COLUMNS = ("origin", "source_repo")
"""The same for where a file comes from; without one it is the file's path."""


@dataclass(frozen=True)
class Entry:
    """A file that wants to become a clip."""

    path: Path
    file: str
    kind: str
    source: str
    language: str
    licence: str
    origin: str


def clips(settings: Settings) -> Iterator[Made]:
    """The files of a folder or a manifest, read on all cores; those of no use are skipped."""
    found = entries(settings.path)
    longest = settings.corpus.longest_test_seconds if settings.split == "test" else 0.0
    read = partial(_usable, mono=settings.corpus.mono, longest=longest)
    with ProcessPoolExecutor(cores(), initializer=die_with_parent) as pool:
        results = progress(ahead(pool, read, found, 4 * cores()), len(found), settings.split)
        for entry, result in zip(found, results, strict=True):
            if isinstance(result, str):
                settings.skip(str(entry.path), result)
            else:
                yield *result, result[0].sample_rate


def _usable(entry: Entry, mono: bool, longest: float) -> tuple[Clip, NDArray[np.float32]] | str:
    """A clip, or the reason why there is none."""
    try:
        return load(entry, mono, longest)
    except AudioError as error:
        return str(error) if str(entry.path) in str(error) else f"{entry.path}: {error}"


def entries(path: Path) -> list[Entry]:
    """The files that a folder or a manifest names, in the order of their names.

    A folder with a manifest.csv in it is read by that manifest. Without one, all audio files below
    it count, each a source of its own, and a folder's name gives the kind of what is in it
    (``speech``, ``music`` or ``general`` anywhere in the name; else a file's own name; else
    general).
    """
    if path.is_dir():
        manifest = path / FILE_NAME
        found = _from_manifest(manifest) if manifest.is_file() else _from_folder(path)
    elif path.is_file() and path.suffix == ".csv":
        found = _from_manifest(path)
    else:
        raise UserError(f"{path}: neither a folder nor a manifest (.csv)")
    if not found:
        raise UserError(
            f"{path}: no audio files ({' '.join(audio.SUFFIXES)}); see corpus in params.yaml"
        )
    return sorted(found, key=lambda entry: entry.file)


def _from_manifest(manifest: Path) -> list[Entry]:
    try:
        table = pd.read_csv(manifest, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise UserError(f"{manifest}: cannot be read as a table: {error}") from error
    if "file" not in table:
        raise UserError(f"{manifest}: has no column `file`")
    source_column = next((name for name in SOURCE_COLUMNS if name in table), "file")
    origin_column = next((name for name in ORIGIN_COLUMNS if name in table), "")
    found = []
    for row in table.to_dict("records"):
        kind = row.get("kind") or guess_kind(row["file"])
        if kind not in KINDS:
            raise UserError(f"{manifest}: kind {kind!r} of {row['file']}; use {', '.join(KINDS)}")
        found.append(
            Entry(
                path=manifest.parent / row["file"],
                file=_flat(row["file"]),
                kind=kind,
                source=row[source_column] or row["file"],
                language=row.get("language", ""),
                licence=row.get("licence", ""),
                origin=row.get(origin_column) or (manifest.parent / row["file"]).as_posix(),
            )
        )
    return found


def _from_folder(folder: Path) -> list[Entry]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in audio.SUFFIXES)
    found = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        kind = guess_kind(f"{folder.resolve().name}/{name}")
        found.append(Entry(path, _flat(name), kind, name, "", "", path.as_posix()))
    return found


def guess_kind(name: str) -> str:
    """The kind that a path's parts name, the innermost folder first, then the file."""
    *folders, file = name.lower().split("/")
    for part in [*folders[::-1], file]:
        for kind in KINDS:
            if kind in part:
                return kind
    return "general"


def _flat(name: str) -> str:
    """A relative path as one file name; files of the same name in two folders stay two."""
    stem, dot, suffix = name.replace("\\", "/").rpartition(".")
    return (stem if dot else suffix).replace("/", "__") + ".flac"


def load(entry: Entry, mono: bool, longest: float) -> tuple[Clip, NDArray[np.float32]]:
    """Read an entry: its row and its (channels, samples) waveform.

    ``mono`` averages the channels; ``longest`` > 0 keeps so many seconds from the start. Raises
    AudioError where the file cannot be used, for the caller to list.
    """
    waveform, rate = audio.read(entry.path)
    audio.check(waveform, rate)
    if mono:
        waveform = waveform.mean(axis=0, keepdims=True)
    if longest > 0:
        waveform = waveform[:, : round(longest * rate)]
    clip = Clip(
        file=entry.file,
        kind=entry.kind,
        source=entry.source,
        language=entry.language,
        sample_rate=rate,
        channels=waveform.shape[0],
        seconds=waveform.shape[-1] / rate,
        licence=entry.licence,
        origin=entry.origin,
    )
    return clip, waveform


def validation_sources(clips: list[tuple[str, str]], fraction: float, seed: int) -> set[str]:
    """Which sources of (kind, source) pairs validate: that fraction of each kind's, at least one.

    The choice depends on names and seed alone, so more files do not move old ones much.
    """
    chosen: set[str] = set()
    for kind in KINDS:
        sources = sorted({source for its_kind, source in clips if its_kind == kind})
        if len(sources) < 2:
            continue
        sources.sort(key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
        chosen.update(sources[: max(1, round(fraction * len(sources)))])
    return chosen
