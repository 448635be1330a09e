"""report: summary, curves, training logs and audio to reports/index.html and what it loads.

The page, its listening test and their assets open from a disk, a mail or a server.
"""

import pandas as pd

from pipeline import params
from pipeline.coders.bench import table_path
from pipeline.corpora import manifest
from pipeline.corpora.manifest import AS_TEXT
from pipeline.params import BASE
from pipeline.report import listen, page
from pipeline.results import gate as check
from pipeline.results.claims import claims
from pipeline.stage import log, run
from pipeline.stages.aggregate import CURVE, REPORTS, SUMMARY
from pipeline.stages.prepare import TEST
from pipeline.stages.score import SCORES
from pipeline.stages.speed import SPEED
from pipeline.stages.train import MODELS

PAGE = REPORTS / "index.html"


def main() -> None:
    settings = params.load()
    series = settings.points()
    models = [BASE, *settings.models]
    tables = {
        name: pd.concat(
            [pd.read_csv(MODELS / model / f"{name}.csv") for model in models[1:]],
            ignore_index=True,
        )
        for name in ("entropy", "entropy_coders", "codes", "histogram")
    }
    summary, curve = check.read(SUMMARY), pd.read_csv(CURVE)
    sweep = sorted(
        (name for name in settings.models if series[f"neural-{name}"] == "neural"),
        key=lambda name: settings.models[name].beta,
    )
    page.write(
        REPORTS,
        page.Run(
            summary=summary,
            curve=curve,
            files=pd.concat(
                [pd.read_csv(table_path(point), dtype=AS_TEXT).assign(point=point)
                 for point in series],
                ignore_index=True,
            ),
            scores=pd.concat(
                [pd.read_csv(SCORES / f"{point}.csv", dtype=AS_TEXT) for point in series],
                ignore_index=True,
            ),
            clips=manifest.read(TEST),
            split=TEST,
            pairs=listen.pairs(curve, settings.report.pairs),
            training={
                model: pd.read_csv(MODELS / model / "training.csv") for model in models
            },
            models=tables,
            speed=pd.read_csv(SPEED),
            claims=claims(summary, tables["codes"], sweep),
            params_text=params.FILE.read_text(encoding="utf-8"),
        ),
    )  # fmt: skip
    size = sum(path.stat().st_size for path in (REPORTS / page.ASSETS).rglob("*") if path.is_file())
    log.info("%s: with what it loads %.0f MB", PAGE, (PAGE.stat().st_size + size) / 1e6)


if __name__ == "__main__":
    run(main)
