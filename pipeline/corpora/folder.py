"""Any folder, or any manifest.csv, of audio files."""

import contextlib
import hashlib
import logging
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codec import audio
from codec.errors import AudioError, UserError, reason
from codec.files import below, is_stream
from codec.names import output_names, printable
from codec.process import Died, each
from pipeline.corpora import Made, Settings, spreadsheet
from pipeline.corpora.manifest import FILE_NAME, KINDS, Clip
from pipeline.stage import cores, progress

SOURCE_COLUMNS = ("source", "speaker", "recording", "speaker_or_recording_id")
"""Columns of a manifest that may name the speaker or recording, the first one found counts."""
ORIGIN_COLUMNS = ("origin", "source_repo")
"""The same for where a file comes from; without one it is the file's path."""


MOST_CHANNELS = 2
"""Of a test clip: what all coders of the bench take."""
log = logging.getLogger("rdcodec")


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
    testing = settings.split == "test"
    if not testing:
        check_apart(found, entries(Path(settings.corpus.test)))
    longest = settings.corpus.longest_test_seconds if testing else 0.0
    most = MOST_CHANNELS if testing else audio.MAX_CHANNELS
    read = partial(_usable, mono=settings.corpus.mono, longest=longest, most=most)
    results = each(read, found, min(cores(), len(found)))
    for entry, result in progress(results, len(found), settings.split):
        if isinstance(result, tuple):
            yield *result, result[0].sample_rate
            continue
        path = printable(str(entry.path))
        why = f"{path}: {result.reason}" if isinstance(result, Died) else printable(result)
        settings.skip(path, why)


def _usable(
    entry: Entry, mono: bool, longest: float, most: int
) -> tuple[Clip, NDArray[np.float32]] | str:
    """A clip, or the reason why there is none."""
    try:
        clip, waveform = load(entry, mono, longest)
    except Exception as error:
        # Whatever is wrong with one file, a library's own error included, is said of that file.
        return reason(entry.path, error)
    if clip.channels > most:
        return (
            f"{entry.path}: has {clip.channels} channels, and coders to compare with take {most}; "
            "set corpus.mono: true, or make it stereo"
        )
    return clip, waveform


def check_apart(train: list[Entry], test: list[Entry]) -> None:
    """Warn of files that are both trained on and tested with: their scores are worth nothing.

    Raises UserError where both name the very same file, and not a copy of it.
    """
    same = [(ours.path, theirs.path) for ours, theirs in shared(train, test)]
    said = f"corpus.train and corpus.test share {len(same)} of {len(test)} test files, such as"
    for ours, theirs in same:
        if ours.samefile(theirs):
            raise UserError(f"{said} {printable(str(ours))}; take them out of one")
    if same:
        log.warning(
            "%s %s and %s: scores of these are worth nothing; take them out of one",
            said, *(printable(str(path)) for path in same[0]),
        )  # fmt: skip


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
    elif path.is_file() and path.suffix.lower() == ".csv":
        found = _from_manifest(path)
    else:
        raise UserError(f"{path}: neither a folder nor a manifest (.csv)")
    if not found:
        raise UserError(
            f"{path}: no audio files ({' '.join(audio.SUFFIXES)}); see corpus in params.yaml"
        )
    # Until here ``file`` is the path inside the corpus.
    names = output_names((entry.file for entry in found), ".flac", flat=True)
    named = (replace(entry, file=names[entry.file]) for entry in found)
    return sorted(named, key=lambda entry: entry.file)


def _from_manifest(manifest: Path) -> list[Entry]:
    rows = [row for _, row in spreadsheet.rows(manifest, ["file"])]
    source_column = next((name for name in SOURCE_COLUMNS if name in rows[0]), "file")
    origin_column = next((name for name in ORIGIN_COLUMNS if name in rows[0]), "")
    found: dict[str, Entry] = {}
    for row in rows:
        path, file = manifest.parent / row["file"], row["file"]
        if "\\" in file and not path.exists():  # written on Windows
            path, file = manifest.parent / file.replace("\\", "/"), file.replace("\\", "/")
        kind = row.get("kind", "").lower() or guess_kind(file)
        if kind not in KINDS:
            raise UserError(f"{manifest}: kind {kind!r} of {file}; use {', '.join(KINDS)}")
        if file in found:
            raise UserError(f"{manifest}: names {file} twice")
        found[file] = Entry(
            path=path,
            file=file,
            kind=kind,
            source=row[source_column] or file,
            language=row.get("language", ""),
            licence=row.get("licence", ""),
            origin=row.get(origin_column) or path.as_posix(),
        )
    return list(found.values())


def _from_folder(folder: Path) -> list[Entry]:
    files, refused = below(folder, audio.SUFFIXES)
    for error in refused:
        raise UserError(f"{error.filename}: {error.strerror}; or name files in a {FILE_NAME}")
    for linked in sorted({path.parent for path in files if _is_linked(path.parent, folder)}):
        log.warning(
            "%s: is a link; its files count, but DVC does not see when they change "
            "(`rdcodec run --force prepare` then)", printable(str(linked)),
        )  # fmt: skip
    found = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        kind = guess_kind(f"{folder.resolve().name}/{name}")
        origin = printable(path.as_posix())
        found.append(Entry(path, name, kind, printable(name), "", "", origin))
    return found


def _is_linked(path: Path, folder: Path) -> bool:
    """Whether the way from ``folder`` to ``path`` is a link."""
    return (path.is_symlink() and path != folder) or (
        folder in path.parents and path.parent != folder and _is_linked(path.parent, folder)
    )


def shared(ours: Iterable[Entry], theirs: Iterable[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Those of ``ours`` that have the same bytes as one of ``theirs``, and that one."""
    by_size: dict[int, list[Entry]] = {}
    for entry in theirs:
        by_size.setdefault(_size(entry), []).append(entry)
    by_size.pop(0, None)  # neither what is empty nor what is no file
    digests: dict[Path, bytes] = {}

    def digest(entry: Entry) -> bytes:
        if entry.path not in digests:
            with entry.path.open("rb") as file:
                digests[entry.path] = hashlib.file_digest(file, "sha256").digest()
        return digests[entry.path]

    for entry in ours:
        # Only where sizes agree is anything read.
        for one in by_size.get(_size(entry), []):
            with contextlib.suppress(OSError):  # what cannot be read is skipped later, and said
                if digest(one) == digest(entry):
                    yield entry, one
                    break


def _size(entry: Entry) -> int:
    """A file's bytes; 0 for what is none."""
    try:
        status = entry.path.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def guess_kind(name: str) -> str:
    """The kind that a path's parts name, the innermost folder first, then the file."""
    *folders, file = name.lower().split("/")
    for part in [*folders[::-1], file]:
        for kind in KINDS:
            if kind in part:
                return kind
    return "general"


def load(entry: Entry, mono: bool, longest: float) -> tuple[Clip, NDArray[np.float32]]:
    """Read an entry: its row and its (channels, samples) waveform.

    ``mono`` averages the channels; ``longest`` > 0 keeps so many seconds from the start. Raises
    AudioError where the file cannot be used, for the caller to list.
    """
    if is_stream(entry.path):  # which may have no end
        raise AudioError(f"{entry.path}: is a pipe or a device, not a file")
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
