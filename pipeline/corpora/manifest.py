"""The manifest: one row per clip, the same columns from every corpus."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict

from codec.errors import UserError
from pipeline.results import tables

KINDS = ("speech", "music", "general")
FILE_NAME = "manifest.csv"


class Clip(BaseModel):
    """One row. ``source`` is the speaker or the recording: clips of one source never part."""

    model_config = ConfigDict(frozen=True)

    file: str
    kind: str
    source: str
    language: str
    sample_rate: int
    channels: int
    seconds: float
    licence: str
    origin: str

    @property
    def name(self) -> str:
        """The file's name without its ending, by which tables know the clip."""
        return Path(self.file).stem


def write(folder: Path, clips: Iterable[Clip]) -> None:
    """Write ``folder``/manifest.csv, sorted by file name."""
    rows = [clip.model_dump() for clip in sorted(clips, key=lambda clip: clip.file)]
    table = pd.DataFrame(rows, columns=list(Clip.model_fields))
    table["seconds"] = table["seconds"].round(4)
    tables.write(folder / FILE_NAME, table)


def read(folder: Path) -> list[Clip]:
    """The clips of ``folder``/manifest.csv."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise UserError(f"{path}: no such file; `dvc repro prepare` makes it")
    return [Clip.model_validate(row) for row in tables.read(path).to_dict("records")]
