"""report: summary, curves, training logs and audio to reports/index.html and what it loads.

The page, its listening test and their assets open from a disk, a mail or a server.
"""

from pathlib import Path

import pandas as pd

from pipeline import layout, params
from pipeline.corpora import manifest
from pipeline.layout import CURVE, PAGE, REPORTS, SPEED, SUMMARY, TEST
from pipeline.params import BASE
from pipeline.params.points import own
from pipeline.report import page, player
from pipeline.results import listening, tables
from pipeline.results.claims import claims
from pipeline.results.summary import read
from pipeline.stage import enter, log


def main() -> None:
    settings = params.load()
    summary, curve = read(SUMMARY), tables.read(CURVE)
    series = {
        point: title for point, title in settings.series().items() if point not in summary.skipped
    }
    models = [BASE, *settings.models] if settings.models else []
    inside = {
        name: tables.read_all(layout.model_table(model, name) for model in settings.models)
        for name in ("entropy", "entropy_coders", "codes", "histogram")
    }
    # One network for each beta; one for all rates has a pair of them.
    betas = {
        name: model.beta
        for name, model in settings.models.items()
        if series[own(name)] in ("neural", "sweep") and isinstance(model.beta, float)
    }
    sweep = sorted(betas, key=betas.__getitem__)
    pairs = player.pairs(curve, settings.report.pairs, summary.envelopes)
    page.write(
        REPORTS,
        page.Contents(
            summary=summary,
            curve=curve,
            files=pd.concat(
                [tables.read(layout.files_table(point)).assign(point=point) for point in series],
                ignore_index=True,
            ),
            scores=tables.read_all(layout.scores_table(point) for point in series),
            clips=manifest.read(TEST),
            split=TEST,
            pairs=pairs,
            peer=player.peer(curve, pairs, list(series)),
            training={
                model: tables.read(layout.model_table(model, "training")) for model in models
            },
            models=inside,
            speed=tables.read(SPEED),
            claims=claims(summary, inside["codes"], sweep),
            listened=listening.of_run(
                [Path(file) for file in settings.report.listening], summary.test.fingerprint
            ),
            params_text=params.FILE.read_text(encoding="utf-8"),
        ),
    )  # fmt: skip
    size = sum(path.stat().st_size for path in (REPORTS / page.ASSETS).rglob("*") if path.is_file())
    log.info("%s: with what it loads %.0f MB", PAGE, (PAGE.stat().st_size + size) / 1e6)


if __name__ == "__main__":
    enter(main)
