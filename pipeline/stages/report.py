"""report: summary, curves, training logs and audio to reports/index.html and what it loads.

The page, its listening test and their assets open from a disk, a mail or a server.
"""

import pandas as pd

from pipeline import layout, params
from pipeline.corpora import manifest
from pipeline.corpora.manifest import AS_TEXT
from pipeline.layout import CURVE, PAGE, REPORTS, SPEED, SUMMARY, TEST
from pipeline.params import BASE
from pipeline.report import listen, page
from pipeline.results import gate
from pipeline.results.claims import claims
from pipeline.stage import enter, log


def main() -> None:
    settings = params.load()
    series = settings.series()
    models = [BASE, *settings.models]
    tables = {
        name: pd.concat(
            [pd.read_csv(layout.model_table(model, name)) for model in models[1:]],
            ignore_index=True,
        )
        for name in ("entropy", "entropy_coders", "codes", "histogram")
    }
    summary, curve = gate.read(SUMMARY), pd.read_csv(CURVE)
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
                [pd.read_csv(layout.files_table(point), dtype=AS_TEXT).assign(point=point)
                 for point in series],
                ignore_index=True,
            ),
            scores=pd.concat(
                [pd.read_csv(layout.scores_table(point), dtype=AS_TEXT) for point in series],
                ignore_index=True,
            ),
            clips=manifest.read(TEST),
            split=TEST,
            pairs=listen.pairs(curve, settings.report.pairs),
            training={
                model: pd.read_csv(layout.model_table(model, "training")) for model in models
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
    enter(main)
