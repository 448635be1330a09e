"""prepare: the corpus of params.yaml to data/{train,valid,test}/ with a manifest each.

Files that cannot be used are listed in data/skipped.csv with the reason, and in the log.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from codec import audio
from codec.errors import UserError, reason
from codec.files import write_text
from codec.names import printable
from codec.process import Died, each
from pipeline import params
from pipeline.corpora import folder, manifest, synthetic
from pipeline.corpora.manifest import Clip
from pipeline.stage import cores, log, progress, run

DATA = Path("data")
TRAIN, VALID, TEST = DATA / "train", DATA / "valid", DATA / "test"
SKIPPED = DATA / "skipped.csv"
MOST_CHANNELS = 2
"""Of a test clip: what all coders of the bench take."""


def main() -> None:
    settings = params.load()
    params.check_paths(settings)
    corpus, seed = settings.corpus, settings.seed
    if corpus.source == "synthetic":
        made = corpus.synthetic
        train_clips = max(4, round(made.train_minutes * 60 / made.train_seconds))
        _write_synthetic(corpus.train, [TRAIN, VALID], seed, train_clips, made.train_seconds)
        _write_synthetic(corpus.test, [TEST], seed, made.test_clips, made.test_seconds)
        skipped: list[dict[str, str]] = []
    else:
        train, test = (folder.entries(Path(path)) for path in (corpus.train, corpus.test))
        _check_apart(train, test)
        skipped = _write_folder(train, [TRAIN, VALID], 0.0)
        skipped += _write_folder(test, [TEST], corpus.longest_test_seconds)
    table = pd.DataFrame(skipped, columns=["split", "file", "reason"])
    write_text(SKIPPED, table.to_csv(index=False))
    for row in skipped:
        log.warning("skipped (%s): %s", row["split"], row["reason"])
    for split in (TRAIN, VALID, TEST):
        clips = manifest.read(split)
        if not clips and split == VALID:
            raise UserError(
                "corpus.train: at least two speakers or recordings of one kind are needed, so that "
                f"one can validate; {len(skipped)} files were skipped, see {SKIPPED}"
            )
        if not clips:
            raise UserError(
                f"corpus.{split.name}: not one usable clip; {len(skipped)} files were skipped, "
                f"see {SKIPPED}"
            )
        kinds = ", ".join(
            f"{sum(clip.kind == kind for clip in clips)} {kind}" for kind in manifest.KINDS
        )
        minutes = sum(clip.seconds for clip in clips) / 60
        log.info("%s: %d clips (%s), %.1f minutes", split, len(clips), kinds, minutes)


def _write_synthetic(
    recipe: str, splits: list[Path], seed: int, count: int, seconds: float
) -> None:
    made = synthetic.clips(Path(recipe), seed, count, seconds)
    clips = [(clip, waveform) for clip, waveform in progress(made, count, splits[0].name)]
    validating = _validation([clip for clip, _ in clips], splits)
    for split in splits:
        chosen = [
            (clip, waveform)
            for clip, waveform in clips
            if splits[clip.source in validating] == split
        ]
        for clip, waveform in chosen:
            audio.write(split / clip.file, waveform, clip.sample_rate)
        manifest.write(split, [clip for clip, _ in chosen])


def _validation(clips: list[Clip] | list[folder.Entry], splits: list[Path]) -> set[str]:
    if len(splits) == 1:
        return set()
    settings = params.load()
    pairs = [(clip.kind, clip.source) for clip in clips]
    return folder.validation_sources(pairs, settings.corpus.valid_fraction, settings.seed)


def _check_apart(train: list[folder.Entry], test: list[folder.Entry]) -> None:
    """Raise UserError where a file is both trained on and tested with: no score would count."""
    same = list(folder.shared(train, test))
    if same:
        ours, theirs = same[0]
        raise UserError(
            f"corpus.train and corpus.test share {len(same)} of {len(test)} test files, such as "
            f"{printable(str(ours.path))} and {printable(str(theirs.path))}; take them out of one"
        )


def _write_folder(
    found: list[folder.Entry], splits: list[Path], longest: float
) -> list[dict[str, str]]:
    """Convert a folder's files on all cores; return those that were skipped."""
    validating = _validation(found, splits)
    written: dict[Path, list[Clip]] = {split: [] for split in splits}
    skipped = []
    for split in splits:
        split.mkdir(parents=True, exist_ok=True)
    jobs = [(entry, splits[entry.source in validating]) for entry in found]
    convert = partial(_convert, mono=params.load().corpus.mono, longest=longest)
    done = each(convert, jobs, min(cores(), len(jobs)))
    for (entry, split), result in progress(done, len(jobs), splits[0].name):
        path = printable(str(entry.path))
        if isinstance(result, Clip):
            written[split].append(result)
            continue
        why = f"{path}: {result.reason}" if isinstance(result, Died) else result
        skipped.append({"split": split.name, "file": path, "reason": why})
    for split in splits:
        manifest.write(split, written[split])
    return sorted(skipped, key=lambda row: row["file"])


def _convert(job: tuple[folder.Entry, Path], mono: bool, longest: float) -> Clip | str:
    """Write one clip; return its row, or the reason why there is none."""
    entry, split = job
    try:
        clip, waveform = folder.load(entry, mono, longest)
    except Exception as error:
        # Whatever is wrong with one file, a library's own error included, is said of that file.
        return printable(reason(entry.path, error))
    if clip.channels > MOST_CHANNELS and split == TEST:
        return printable(
            f"{entry.path}: has {clip.channels} channels, and coders to compare with take "
            f"{MOST_CHANNELS}; set corpus.mono: true, or make it stereo"
        )
    audio.write(split / clip.file, waveform, clip.sample_rate)
    return clip


if __name__ == "__main__":
    run(main)
