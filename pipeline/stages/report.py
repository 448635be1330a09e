"""report: summary, curves and training logs to reports/index.html, one file that opens offline."""

from pathlib import Path

import pandas as pd

from pipeline import check, params
from pipeline.params import BASE
from pipeline.report import page
from pipeline.stage import log, run
from pipeline.stages.aggregate import CURVE, SUMMARY
from pipeline.stages.train import MODELS

PAGE = Path("reports/index.html")


def main() -> None:
    models = [BASE, *params.load().models]
    training = {model: pd.read_csv(MODELS / model / "training.csv") for model in models}
    tables = {
        name: pd.concat([pd.read_csv(MODELS / model / f"{name}.csv") for model in models[1:]])
        for name in ("entropy", "entropy_coders", "codes")
    }
    page.write(
        PAGE,
        check.read(SUMMARY),
        pd.read_csv(CURVE),
        training,
        tables,
        params.FILE.read_text(encoding="utf-8"),
    )
    log.info("%s: %.1f MB", PAGE, PAGE.stat().st_size / 1e6)


if __name__ == "__main__":
    run(main)
