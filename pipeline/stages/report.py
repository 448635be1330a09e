"""report: summary, curves and training logs to reports/index.html, one file that opens offline."""

from pathlib import Path

import pandas as pd

from pipeline import check, params
from pipeline.claims import claims
from pipeline.params import BASE
from pipeline.report import page
from pipeline.stage import log, run
from pipeline.stages.aggregate import CURVE, SUMMARY
from pipeline.stages.speed import SPEED
from pipeline.stages.train import MODELS

PAGE = Path("reports/index.html")


def main() -> None:
    settings = params.load()
    models = [BASE, *settings.models]
    training = {model: pd.read_csv(MODELS / model / "training.csv") for model in models}
    tables = {
        name: pd.concat([pd.read_csv(MODELS / model / f"{name}.csv") for model in models[1:]])
        for name in ("entropy", "entropy_coders", "codes")
    }
    summary = check.read(SUMMARY)
    sweep = sorted(
        (name for name in settings.models if settings.points()[f"neural-{name}"] == "neural"),
        key=lambda name: settings.models[name].beta,
    )
    page.write(
        PAGE,
        summary,
        pd.read_csv(CURVE),
        training,
        tables,
        pd.read_csv(SPEED),
        claims(summary, tables["codes"], sweep),
        params.FILE.read_text(encoding="utf-8"),
    )
    log.info("%s: %.1f MB", PAGE, PAGE.stat().st_size / 1e6)


if __name__ == "__main__":
    run(main)
