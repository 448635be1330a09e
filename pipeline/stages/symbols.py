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
from codec.coding.tables import FrozenTables
from codec.errors import UserError
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
    if not isinstance(frozen, FrozenTables):
        raise UserError(f"{name}: a context model has no table for each row of symbols to describe")
    training = entropy.draw_symbols(codec, TRAIN, settings.entropy.seconds, settings.seed)
    clips = coded_symbols(codec, own(name))
    size = codec.config.codebook_size if codec.layered else None
    coders = entropy_coders.measure(training, clips, frozen, size)
    seconds = sum(clip.shape[1] for clip in clips) / codec.config.frame_rate
    coders.insert(0, "model", name)
    coders["kbps"] = coders.bits / seconds / 1000
    symbols = np.concatenate(clips, axis=-1)
    codes = describe(symbols, frozen)
    codes.insert(0, "model", name)
    codes["of"] = size
    counts = histogram(symbols)
    counts.insert(0, "model", name)
    for table, what in ((coders, "entropy_coders"), (codes, "codes"), (counts, "histogram")):
        tables.write(layout.model_table(name, what), table, "%.6g")
    log.info("%s:\n%s", name, coders.to_string(index=False))


def coded_symbols(codec: AudioCodec, point: str) -> list[NDArray[np.int32]]:
    """(rows, frames) symbols of each coded clip and group of audio channels."""
    found: list[NDArray[np.int32]] = []
    for clip in manifest.read(TEST):
        with layout.coded_file(point, clip.name, ".rdc").open("rb") as file:
            found.extend(codec.read_symbols(file)[1])
    return found


def describe(symbols: NDArray[np.int32], frozen: FrozenTables) -> pd.DataFrame:
    """A row per row of (rows, frames) symbols.

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
                "bits_per_symbol": frozen.select([index]).bits(row[None]) / len(row),
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
