"""symbols: what a model's codes look like, and what other entropy codes would make of them.

Writes models/<model>/codes.csv, a row per latent channel or codebook,
models/<model>/histogram.csv, how often each of them has each symbol, and
models/<model>/entropy_coders.csv, a row per entropy code; all measured on the test clips.
"""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from codec import checkpoint
from codec.coding import payloads
from codec.model import AudioCodec
from pipeline import layout, params
from pipeline.coders import entropy_coders
from pipeline.corpora import manifest
from pipeline.layout import TEST, TRAIN
from pipeline.params.points import own
from pipeline.results import tables
from pipeline.stage import cores, enter, log
from pipeline.training import entropy


def main(name: str) -> None:
    settings = params.load()
    torch.set_num_threads(cores())
    codec = checkpoint.load(layout.model_file(name))
    frozen = codec.frozen_tables()
    clips = coded_symbols(codec, own(name))
    # The level of the middle clip stands for all, where files of one bitrate are of several.
    level = int(np.median([level for _, level in clips]))
    seconds, seed = settings.entropy.seconds, settings.seed
    training = entropy.draw_symbols(codec, TRAIN, seconds, seed, level)
    size = codec.config.codebook_size if codec.layered else None
    coders = entropy_coders.measure(training, clips, frozen, size)
    tested = sum(symbols.shape[1] for symbols, _ in clips) / codec.config.frame_rate
    coders.insert(0, "model", name)
    coders["kbps"] = coders.bits / tested / 1000
    symbols = np.concatenate([symbols for symbols, _ in clips], axis=-1)
    codes = describe(symbols, row_bits(clips, frozen))
    codes.insert(0, "model", name)
    codes["of"] = size
    counts = histogram(symbols)
    counts.insert(0, "model", name)
    for table, what in ((coders, "entropy_coders"), (codes, "codes"), (counts, "histogram")):
        tables.write(layout.model_table(name, what), table, "%.6g")
    log.info("%s:\n%s", name, coders.to_string(index=False))


def coded_symbols(codec: AudioCodec, point: str) -> list[tuple[NDArray[np.int32], int]]:
    """(rows, frames) symbols of each coded clip and group of audio channels, and their level."""
    found: list[tuple[NDArray[np.int32], int]] = []
    for clip in manifest.read(TEST):
        with layout.coded_file(point, clip.name, ".rdc").open("rb") as file:
            header, groups = codec.read_symbols(file)
            found += [(group, header.level) for group in groups]
    return found


def row_bits(
    clips: list[tuple[NDArray[np.int32], int]], frozen: payloads.Tables
) -> NDArray[np.float64]:
    """(rows,) ideal bits of each row in all clips."""
    parts = [
        payloads.symbol_bits(symbols[None], level, frozen)[0].sum(axis=1)
        for symbols, level in clips
    ]
    return np.asarray(np.sum(parts, axis=0), np.float64)


def describe(symbols: NDArray[np.int32], bits: NDArray[np.float64]) -> pd.DataFrame:
    """A row per row of (rows, frames) symbols, of which ``bits`` says what each row costs.

    ``entropy`` is that of the symbols' own histogram, in bits; ``bits_per_symbol`` what they cost
    with the frozen tables; ``in_use`` how many different ones there are.
    """
    rows = []
    for index, row in enumerate(symbols):
        values, counts = np.unique(row, return_counts=True)
        share = counts / counts.sum()
        rows.append(
            {
                "row": index,
                "entropy": float(-(share * np.log2(share)).sum()),
                "bits_per_symbol": bits[index] / len(row),
                "in_use": len(values),
                "lowest": int(values[0]),
                "highest": int(values[-1]),
            }
        )
    return pd.DataFrame(rows)


def histogram(symbols: NDArray[np.int32]) -> pd.DataFrame:
    """How often each row of (rows, frames) symbols has each symbol: row, symbol, count."""
    parts = []
    for index, row in enumerate(symbols):
        values, counts = np.unique(row, return_counts=True)
        parts.append(pd.DataFrame({"row": index, "symbol": values, "count": counts}))
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    enter(main)
