"""The sample report of the site: the page of a run whose tables lie here, without its recordings.

MkDocs calls ``on_post_build``; ``python docs/sample/build.py REPORTS`` takes over a run's tables.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from codec.files import write_text
from pipeline.metrics.scoring import COLUMNS
from pipeline.report import page
from pipeline.results import summary, tables

HERE = Path(__file__).parent
TABLES = ("rd.csv", "summary.json", "speed.csv")


def on_post_build(config: Any, **_: Any) -> None:
    """Write sample/ beside the pages of the site."""
    write(Path(config["site_dir"]) / "sample")


def write(folder: Path) -> None:
    """The report's page in ``folder``; what needs recordings or trained models is left out."""
    files = pd.DataFrame(columns=["point", "clip", "file_bytes", "seconds", "timeline"])
    inside = dict.fromkeys(("entropy", "entropy_coders", "codes", "histogram"), pd.DataFrame())
    page.write(folder, page.Contents(
        summary=summary.read(HERE / "summary.json"),
        curve=tables.read(HERE / "rd.csv"),
        files=files,
        scores=pd.DataFrame(columns=COLUMNS),
        clips=[],
        split=folder,
        pairs=[],
        peer=None,
        training={},
        models=inside,
        speed=tables.read(HERE / "speed.csv"),
        claims=[],
        params_text="",
        about=json.loads((HERE / "about.json").read_text(encoding="utf-8")),
    ))  # fmt: skip
    (folder / "listening.html").unlink()


if __name__ == "__main__":
    for name in TABLES:
        shutil.copyfile(Path(sys.argv[1]) / name, HERE / name)
    write_text(HERE / "about.json", json.dumps(page.about(), indent=1) + "\n")
