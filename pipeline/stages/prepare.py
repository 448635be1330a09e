"""prepare: the corpus of params.yaml to data/{train,valid,test}/ with a manifest each.

Files that cannot be used are listed in data/skipped.csv with the reason, and in the log.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from codec import audio
from codec.errors import UserError
from pipeline import corpora, params
from pipeline.corpora import folder, manifest
from pipeline.corpora.manifest import Clip
from pipeline.layout import SKIPPED, TEST, TRAIN, VALID
from pipeline.results import tables
from pipeline.stage import cores, enter, log


def main(only: str | None = None) -> None:
    """All splits; ``only`` test where nothing is trained."""
    settings = params.load()
    params.check_paths(settings)
    skipped: list[dict[str, str]] = []
    wanted = {"train": [TRAIN, VALID], "test": [TEST]}
    if only is not None:
        wanted = {only: wanted[only]}
    for name, splits in wanted.items():
        skipped += _write(settings, Path(getattr(settings.corpus, name)), splits)
    table = pd.DataFrame(skipped, columns=["split", "file", "reason"])
    tables.write(SKIPPED, table)
    for row in skipped:
        log.warning("skipped (%s): %s", row["split"], row["reason"])
    for split in itertools.chain(*wanted.values()):
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


def _write(settings: params.Params, path: Path, splits: list[Path]) -> list[dict[str, str]]:
    """Write the clips of a corpus to the first of ``splits``, and move some of them to the second.

    Returns the files that were skipped.
    """
    first = splits[0]
    skipped: list[dict[str, str]] = []

    def skip(file: str, reason: str) -> None:
        skipped.append({"split": first.name, "file": file, "reason": reason})

    def write(made: corpora.Made) -> Clip:
        clip, waveform, rate = made
        audio.write(first / clip.file, waveform, rate)
        return clip

    for split in splits:
        split.mkdir(parents=True, exist_ok=True)
    made = corpora.build(settings.corpus.source)(
        corpora.Settings(first.name, path, settings.seed, settings.corpus, skip)
    )
    with ThreadPoolExecutor(cores()) as pool:  # libsndfile works without Python's lock
        clips = list(corpora.ahead(pool, write, made, 4 * cores()))
    validating: set[str] = set()
    if len(splits) == 2:
        validating = folder.validation_sources(
            [(clip.kind, clip.source) for clip in clips],
            settings.corpus.valid_fraction,
            settings.seed,
        )
    for clip in clips:
        if clip.source in validating:
            (first / clip.file).rename(splits[1] / clip.file)
    for split in splits:
        held = split != first
        manifest.write(split, [clip for clip in clips if (clip.source in validating) == held])
    return sorted(skipped, key=lambda row: row["file"])


if __name__ == "__main__":
    enter(main)
