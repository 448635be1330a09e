"""Plotly figures as JSON. Colours are names of the page's own palette, set when it draws."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pipeline.metrics import Metric, declared
from pipeline.params.points import is_opus
from pipeline.results.summary import Envelope


@dataclass(frozen=True)
class Style:
    """How a series looks on every plot."""

    title: str
    colour: str
    symbol: str
    dash: str = "solid"
    width: float = 2.5


ENVELOPE = "opus at its best"
"""In place of a series: the best of Opus's settings at each rate."""
STYLES = {
    "neural": Style("Neural", "#0072B2", "circle"),
    "sweep": Style("Neural, a network for each β", "#CC79A7", "circle-open"),
    "rvq": Style("Neural, RVQ", "#009E73", "square"),
    "perceptual": Style("Neural, perceptual decoder", "#0072B2", "circle-open", "dash"),
    ENVELOPE: Style("Opus at its best", "#D55E00", "diamond", width=4.5),
    "opus": Style("Opus", "#D55E00", "diamond"),
}
OTHERS = (("#E69F00", "triangle-up"), ("#56B4E9", "x"), ("#999999", "star"))
"""All of them Okabe and Ito's colours, told apart by every kind of colour vision."""


def styles(series: list[str]) -> dict[str, Style]:
    """The style of each series.

    Variants of Opus, and another run's series, as "neural (v1)", have the colour of what they
    vary, and a dashed line.
    """
    found, others = {}, itertools.cycle(OTHERS)
    for name in series:
        known, _, run = name.partition(" (")
        if name in STYLES:
            found[name] = STYLES[name]
        elif known in STYLES:
            base = STYLES[known]
            found[name] = Style(f"{base.title} ({run}", base.colour, f"{base.symbol}-open", "dash")
        elif name.startswith("opus"):
            title = f"Opus, {name.removeprefix('opus').strip('-') or name}"
            found[name] = Style(title, STYLES["opus"].colour, "diamond-open", "dash")
        else:
            colour, symbol = next(others)
            found[name] = Style(name, colour, symbol)
    return found


KBPS_TICKS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")


def rate_distortion(
    curve: pd.DataFrame, metric: Metric, kind: str, best: Sequence[str] = ()
) -> dict[str, Any]:
    """One metric of one kind over measured file kbps, a line with its interval per series.

    ``best`` are the points that make Opus's envelope, the one bold curve; its settings are thin.
    """
    rows = curve[(curve.metric == metric.name) & (curve.kind == kind)].dropna(subset=["mean"])
    figure = go.Figure()
    for name, style, part in lines(curve, rows, best):
        known = part[:0] if style.width < 2 else part.dropna(subset=["low"])
        figure.add_scatter(
            x=[*known.file_kbps, *known.file_kbps[::-1]],
            y=[*known.high, *known.low[::-1]],
            fill="toself",
            fillcolor=_faint(style.colour),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
        chosen = list(part.chosen)
        figure.add_scatter(
            x=part.file_kbps,
            y=part["mean"],
            customdata=np.stack(
                [
                    part.point, part.low, part.high, part.n_scored, part.n_total,
                    [f"<br>{text}" if text else "" for text in chosen],
                ],
                axis=-1,
            ),
            hovertemplate=(
                "<b>%{customdata[0]}</b><br>%{x:.2f} kbps of file<br>%{y:.DIGITSf} "
                "(%{customdata[1]:.DIGITSf} to %{customdata[2]:.DIGITSf})<br>"
                "%{customdata[3]} of %{customdata[4]} clips scored%{customdata[5]}<extra></extra>"
            ).replace("DIGITS", str(metric.digits)),
            # Beside a point the audio bandwidth that its coder chose most often; of the envelope's
            # points its settings tell.
            text=["" if name == ENVELOPE else _bandwidth(text) for text in chosen],
            textposition="bottom right",
            textfont={"size": 10, "color": style.colour},
            mode="lines+markers+text",
            name=style.title,
            legendgroup=name,
            line={"color": style.colour, "width": style.width, "dash": style.dash},
            marker={"symbol": style.symbol, "size": 6 if style.width < 2 else 9},
        )  # fmt: skip
    unit = f" ({metric.unit})" if metric.unit else ""
    figure.update_xaxes(type="log", title="file bitrate (kbps)", tickvals=KBPS_TICKS)
    figure.update_yaxes(title=f"{metric.title}{unit}")
    if not metric.higher_is_better:  # up is better on every chart
        figure.update_yaxes(title=f"{metric.title}{unit}, lower is better", autorange="reversed")
    return _plain(figure)


def lines(
    curve: pd.DataFrame, rows: pd.DataFrame, best: Sequence[str]
) -> Iterator[tuple[str, Style, pd.DataFrame]]:
    """Each line of a plot: its name, how it looks, and its points by rising rate.

    ``rows`` are those of the plot, and ``curve`` has all series of the run. Beside Opus's envelope,
    made by the points ``best``, its settings are thin and need no band.
    """
    for name, style in series_of(curve, bool(best)).items():
        part = rows[rows.point.isin(best) if name == ENVELOPE else rows.series == name]
        if best and is_opus(name):
            style = replace(style, width=1)
        if len(part):
            yield name, style, part.sort_values("file_kbps")


def training(curves: dict[str, pd.DataFrame], column: str, title: str) -> dict[str, Any]:
    """One loss over the steps, a colour per model; dashed: on validation segments."""
    figure = go.Figure()
    for index, (model, curve) in enumerate(curves.items()):
        if column not in curve:
            continue  # a loss that this model was not trained with
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        for split, dash in (("train", "solid"), ("valid", "dash")):
            part = curve[curve.split == split]
            figure.add_scatter(
                x=part.step,
                y=part[column],
                mode="lines",
                name=model,
                legendgroup=model,
                showlegend=split == "train",
                line={"color": colour, "dash": dash, "width": 2},
                hovertemplate=f"{model}, {split}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
            )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title=title, type="log" if column == "kbps" else "linear")
    return _plain(figure)


def bits_per_row(codes: pd.DataFrame) -> dict[str, Any]:
    """Bits that each row of symbols takes in a frame, from the dearest row on, a line per model."""
    figure = go.Figure()
    for index, (model, rows) in enumerate(codes.groupby("model", sort=False)):
        ordered = rows.sort_values("bits_per_symbol", ascending=False)
        figure.add_scatter(
            x=np.arange(1, len(ordered) + 1),
            y=ordered.bits_per_symbol,
            customdata=np.stack([ordered.row, ordered.entropy, ordered.in_use], axis=-1),
            hovertemplate=(
                f"{model}, row %{{customdata[0]}}<br>%{{y:.2f}} bits a symbol, "
                "entropy %{customdata[1]:.2f}<br>%{customdata[2]} symbols in use<extra></extra>"
            ),
            mode="lines",
            name=str(model),
            line={"color": MODEL_COLOURS[index % len(MODEL_COLOURS)], "width": 2},
        )
    figure.update_xaxes(title="latent channels or codebooks, sorted")
    figure.update_yaxes(title="bits per symbol")
    return _plain(figure)


def symbol_histogram(counts: pd.DataFrame) -> dict[str, Any]:
    """Share of each symbol among all of a scalar model's, all latent channels together."""
    figure = go.Figure()
    for index, (model, rows) in enumerate(counts.groupby("model", sort=False)):
        shares = rows.groupby("symbol")["count"].sum() / rows["count"].sum()
        _line(figure, index, str(model), shares.index, shares,
              "symbol %{x}<br>%{y:.3%} of all symbols", shape="hvh")  # fmt: skip
    figure.update_xaxes(title="symbol")
    figure.update_yaxes(title="share of symbols", type="log", tickformat=".0e")
    return _plain(figure)


def codebook_use(counts: pd.DataFrame) -> dict[str, Any]:
    """Share of each entry of each codebook, from the most used on, a line per codebook."""
    figure = go.Figure()
    for index, ((model, row), rows) in enumerate(counts.groupby(["model", "row"], sort=False)):
        shares = np.sort((rows["count"] / rows["count"].sum()).to_numpy())[::-1]
        name = f"{model}, codebook {int(str(row)) + 1}"
        _line(figure, index, name, np.arange(1, len(shares) + 1), shares,
              "entry %{x} by use<br>%{y:.3%} of frames")  # fmt: skip
    figure.update_xaxes(title="entries, sorted by use")
    figure.update_yaxes(title="share of frames", type="log", tickformat=".0e")
    return _plain(figure)


def estimate_gap(files: pd.DataFrame) -> dict[str, Any]:
    """Real payload bits over estimated ones, a dot per clip, over the clip's payload rate."""
    figure = go.Figure()
    known = files.dropna(subset=["estimated_bits"])
    for index, (point, rows) in enumerate(known.groupby("point", sort=False)):
        bits = 8 * rows.payload_bytes
        figure.add_scatter(
            x=bits / rows.seconds / 1000,
            y=100 * (bits / rows.estimated_bits - 1),
            customdata=rows[["clip"]],
            hovertemplate=(
                f"<b>{point}</b><br>%{{customdata[0]}}<br>%{{x:.2f}} kbps of payload<br>"
                "%{y:.3f} % over the estimate<extra></extra>"
            ),
            mode="markers",
            name=str(point),
            marker={"color": MODEL_COLOURS[index % len(MODEL_COLOURS)], "size": 6, "opacity": 0.75},
        )
    figure.update_xaxes(type="log", title="payload bitrate of the clip (kbps)", tickvals=KBPS_TICKS)
    figure.update_yaxes(title="real over estimated bits (%)", rangemode="tozero")
    return _plain(figure)


def _line(
    figure: go.Figure, index: int, name: str, x: Any, y: Any, hover: str, shape: str = "linear"
) -> None:
    colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
    figure.add_scatter(
        x=np.asarray(x),
        y=np.asarray(y),
        mode="lines",
        name=name,
        line={"color": colour, "width": 2, "shape": shape},
        hovertemplate=f"{name}<br>{hover}<extra></extra>",
    )


def series_of(curve: pd.DataFrame, envelope: bool = False) -> dict[str, Style]:
    """The series that are drawn, in the order of the curve, and how they look.

    With ``envelope``, and where there are several settings of Opus, their envelope comes first of
    them.
    """
    names = [name for name in dict.fromkeys(curve.series) if name != "ablation"]
    opus = [name for name in names if is_opus(name)]
    if envelope and len(opus) > 1:
        names.insert(names.index(opus[0]), ENVELOPE)
    return styles(names)


def best(curve: pd.DataFrame, envelopes: Sequence[Envelope]) -> dict[tuple[str, str], list[str]]:
    """The points of Opus's envelope by metric and kind; none where it has one setting alone."""
    if len({name for name in curve.series if is_opus(name)}) < 2:
        return {}
    return {(one.metric, one.kind): one.points for one in envelopes}


def all_rate_distortion(
    curve: pd.DataFrame, kinds: list[str], envelopes: Sequence[Envelope] = ()
) -> dict[str, dict[str, Any]]:
    """Figures by "metric kind", of every pair that has scores."""
    known = best(curve, envelopes)
    return {
        f"{metric.name} {kind}": rate_distortion(
            curve, metric, kind, known.get((metric.name, kind), ())
        )
        for metric in declared().values()
        for kind in kinds
        if ((curve.metric == metric.name) & (curve.kind == kind)).any()
    }


def _bandwidth(chosen: str) -> str:
    shares = re.findall(r"(\d+ kHz) (\d+)%", chosen)
    return str(max(shares, key=lambda share: int(share[1]))[0]) if shares else ""


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"


def _plain(figure: go.Figure) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(figure.to_json(engine="json"))
    # The default template is most of a figure's size, and the page has its own look.
    found["layout"].pop("template", None)
    return found
