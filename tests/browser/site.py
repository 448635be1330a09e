"""The pages of a run that never was: invented scores, real audio, real tables and templates."""

from pathlib import Path

import numpy as np
import pandas as pd

from codec import audio
from pipeline import layout
from pipeline.coders.opus import OpusCoder
from pipeline.corpora import manifest
from pipeline.params import Statistics
from pipeline.report import page, player
from pipeline.results.comparisons import Bench
from pipeline.results.headline import headline
from pipeline.results.listening import Result
from pipeline.results.summary import Summary, write

STATISTICS = Statistics(resamples=200, confidence=0.95, min_overlap=0.5)
NEURAL = {"b150": (3.0, 2.2), "b070": (6.0, 2.8), "b050": (11.5, 3.2), "b030": (17.0, 3.6)}
PEERS = {"lc3-16": ("lc3", 16.1, 3.4), "lc3-8": ("lc3", 8.1, 2.5)}
OPUS = {6: (6.2, 2.3), 12: (12.1, 2.9), 16: (17.3, 3.5), 24: (25.0, 4.0)}
RATE = 48_000
KINDS = ("speech", "music", "general")


def signal(number: int, seconds: float) -> np.ndarray:
    """(1, samples): noise in bursts, so that no two places of a clip are alike."""
    rng = np.random.default_rng(number)
    length = round(seconds * RATE)
    envelope = np.repeat(rng.uniform(0.02, 0.3, length // 2400 + 1), 2400)[:length]
    wave = np.convolve(rng.standard_normal(length), np.hanning(24) / 12, "same") * envelope
    return wave.astype(np.float32)[None]


def build(
    folder: Path, count: int = 9, seconds: float = 1.5, listened: Result | None = None
) -> Path:
    """Write the pages of ``count`` clips under ``folder``/reports; its index.html."""
    split = folder / "data"
    clips = []
    for number in range(count):
        kind = KINDS[number % 3]
        # Names with what URLs and HTML take for something else.
        name = f"{kind}_{number:03} & #{number}%.flac"
        audio.write(split / name, signal(number, seconds), RATE)
        clips.append(manifest.Clip(
            file=name, kind=kind, source=f"{kind}{number // 6}", language="", sample_rate=RATE,
            channels=1, seconds=seconds, licence="", origin="",
        ))  # fmt: skip
    points = {f"neural-{name}": ("neural", *facts) for name, facts in NEURAL.items()}
    points |= {f"opus-{kbps}": ("opus", *facts) for kbps, facts in OPUS.items()}
    points |= PEERS
    files, scores = measured(points, clips)
    curve = curve_of(points, files, scores)
    pairs = player.pairs(curve, 2)
    peer = player.peer(curve, pairs, list(points))
    decode(folder, split, clips, player.points_of(pairs, peer))
    found = Bench(curve, scores, files, STATISTICS, 0)
    bd_rates, paired, crossings = found.bd_rates(), found.paired_tests(), found.crossings()
    summary = Summary(
        headline=headline(curve, bd_rates, crossings), verdicts={}, crossings=crossings,
        stretches=found.stretches(),
        bd_rate=bd_rates, paired=paired, envelopes=found.envelopes(),
        points={
            point: {
                "delay_ms": 0.0, "about": {"coder": "invented"}, "series": series, "chosen": "",
                "compression": 1.0, "rates": {}, "metrics": {},
            }
            for point, (series, _, _) in points.items()
        },
        ablations=[],
        unscored=[{"clip": clips[0].name, "point": "opus-6", "metric": "pesq_wb",
                   "reason": "no utterance"}],
        test={"clips": count, "seconds": count * seconds, "fingerprint": "invented", "corpus": {}},
    )  # fmt: skip
    steps = pd.DataFrame(
        {"step": [0, 10, 0, 10], "split": ["train"] * 2 + ["valid"] * 2}
        | {name: [2.0, 1.0, 2.1, 1.1] for name in page.LOSSES}
    )
    run = page.Contents(
        summary, curve, files, scores, clips, split, pairs, peer,
        training={"base": steps, "b050": steps},
        models=tables(),
        speed=pd.DataFrame([["neural-b050", "neural", 150.0, 130.0, 400.0],
                            ["opus-12", "opus", 140.0, 250.0, 90.0]],
                           columns=["point", "series", "encode_x", "decode_x", "peak_mb"]),
        claims=[{"claim": "It codes.", "measured": "yes", "verdict": "holds"}],
        params_text="seed: 0\n",
        listened=listened,
    )  # fmt: skip
    page.write(folder / "reports", run)
    write(folder / "reports" / "summary.json", summary)
    return folder / "reports" / "index.html"


def measured(
    points: dict[str, tuple[str, float, float]], clips: list[manifest.Clip]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of bytes and scores, a row per point and clip; one score is missing."""
    rng = np.random.default_rng(1)
    files, scores = [], []
    level = rng.standard_normal(len(clips)) * 0.3
    for point, (_, kbps, score) in points.items():
        for clip, own in zip(clips, level, strict=True):
            common = {"point": point, "clip": clip.name, "kind": clip.kind, "source": clip.source}
            bits = (rng.uniform(0.5, 1.5, 15) * kbps * 100).astype(int).tolist()
            payload = round(kbps * 125 * clip.seconds)
            files.append(
                {
                    **common,
                    "seconds": clip.seconds,
                    "file_bytes": payload + 30,
                    "payload_bytes": payload,
                    "timeline": str(bits),
                    "estimated_bits": 7.99 * payload if point.startswith("neural") else None,
                }
            )
            value = score + own + rng.standard_normal() * 0.1
            scores.append({**common, "metric": "visqol_audio", "value": value, "reason": ""})
            if clip.kind == "speech":
                none = point == "opus-6" and clip is clips[0]
                scores.append({**common, "metric": "pesq_wb", "value": np.nan if none else value,
                               "reason": "no utterance" if none else ""})  # fmt: skip
    return pd.DataFrame(files), pd.DataFrame(scores)


def curve_of(
    points: dict[str, tuple[str, float, float]], files: pd.DataFrame, scores: pd.DataFrame
) -> pd.DataFrame:
    """The rows of rd.csv."""
    rows = []
    for (point, metric), part in scores.groupby(["point", "metric"], sort=False):
        for kind in (*KINDS, "all") if metric == "visqol_audio" else ("speech",):
            chosen = part if kind == "all" else part[part.kind == kind]
            mean, kbps = chosen.value.mean(), points[point][1]
            rows.append({
                "point": point, "series": points[point][0], "metric": metric, "kind": kind,
                "mean": mean, "low": mean - 0.2, "high": mean + 0.2,
                "n_scored": chosen.value.notna().sum(), "n_total": len(chosen),
                "file_kbps": kbps, "payload_kbps": kbps - 0.1, "estimated_kbps": kbps - 0.11,
                "estimate_gap_percent": 0.1, "bandwidth_khz": 12.0, "lookahead_ms": 26.5,
                **dict.fromkeys(["worst", "encoder_macs", "decoder_macs", "parameters"]),
                "chosen": "silk 100%, 8 kHz 90%" if point == "opus-6" else "",
            })  # fmt: skip
    return pd.DataFrame(rows)


def decode(folder: Path, split: Path, clips: list[manifest.Clip], points: list[str]) -> None:
    """decoded/ of the points: Opus by Opus, ours as eight-bit PCM."""
    for point in points:
        for clip in clips:
            wave, rate = audio.read(split / clip.file)
            if point.startswith("opus"):
                opus = OpusCoder(int(point.removeprefix("opus-")))
                wave = opus.decode(opus.encode(wave, rate))[0][:, : wave.shape[-1]]
            else:
                wave = np.round(wave * 128) / np.float32(128)
            if point in PEERS:  # 6 dB below the others
                wave = wave / 2
            audio.write(folder / layout.decoded_file(point, clip.name), wave, rate)


def tables() -> dict[str, pd.DataFrame]:
    """What stages write under models/, of a scalar and of a residual model."""
    codes = [["b050", 0, 1.5, 1.6, 5, -2, 2, np.nan], ["rvq", 0, 6.0, 6.1, 250, 0, 255, 256]]
    histogram = [["b050", 0, symbol, 100 - symbol**2] for symbol in range(-2, 3)]
    histogram += [["rvq", 0, symbol, symbol + 1] for symbol in range(256)]
    return {
        "entropy": pd.DataFrame([["b050", 6.3, 6.2]],
                                columns=["model", "before_kbps", "after_kbps"]),
        "entropy_coders": pd.DataFrame([["b050", "Huffman", 1.7, 6.4]],
                                       columns=["model", "coder", "bits_per_symbol", "kbps"]),
        "codes": pd.DataFrame(codes, columns=["model", "row", "entropy", "bits_per_symbol",
                                              "in_use", "lowest", "highest", "of"]),
        "histogram": pd.DataFrame(histogram, columns=["model", "row", "symbol", "count"]),
    }  # fmt: skip
