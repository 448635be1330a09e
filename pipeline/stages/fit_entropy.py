"""fit_entropy: the entropy model trained on with encoder and decoder fixed, then frozen.

Writes models/<model>/model.safetensors, which compresses and decompresses, and
models/<model>/entropy.csv with the validation bits before and after.
"""

import numpy as np
import pandas as pd
import torch

from codec import checkpoint
from codec.coding import context, index_context, payloads
from codec.model import AudioCodec
from codec.nn.priors import CategoricalPrior, ContextPrior, FactorizedPrior
from pipeline import layout, params
from pipeline.layout import TRAIN, VALID
from pipeline.params import Params
from pipeline.results import tables
from pipeline.stage import cores, enter, log
from pipeline.training import entropy


def main(name: str) -> None:
    settings = params.load()
    torch.set_num_threads(settings.optimizer.threads or cores())
    torch.manual_seed(settings.seed)
    codec = checkpoint.load(layout.weights(name, settings.optimizer.keep))
    # What is judged is what can be released: weights as small as a model's file keeps them.
    codec.round_weights()
    prior = codec.prior
    if codec.perceptual is not None:
        before = after = as_coded(codec, settings)
    elif isinstance(prior, ContextPrior):
        before, after = fit_context(codec, prior, settings)
    elif isinstance(prior, CategoricalPrior) and codec.config.entropy == "context":
        before, after = fit_indices(codec, prior, settings)
    else:
        before, after = fit_factorized(codec, prior, settings)
    log.info("%s: validation %.3f kbps before, %.3f kbps after", name, before, after)
    table = pd.DataFrame([{"model": name, "before_kbps": before, "after_kbps": after}])
    tables.write(layout.model_table(name, "entropy"), table, "%.6g")
    checkpoint.save(codec, layout.model_file(name), small=True)


def as_coded(codec: AudioCodec, settings: Params) -> float:
    """Validation kbps, all levels, of a model whose files are given: nothing is fitted."""
    held_out = entropy.draw_pieces(codec, VALID, settings.entropy.seconds, settings.seed)
    seconds = sum(symbols.shape[1] for symbols, _ in held_out) / codec.config.frame_rate
    bits = sum(float(codec.bits(symbols[None], level).sum()) for symbols, level in held_out)
    return float(bits / seconds / 1000)


def fit_context(codec: AudioCodec, prior: ContextPrior, settings: Params) -> tuple[float, float]:
    """Train a context prior on, freeze it, and count its tables; validation kbps, all levels."""
    chosen, seed = settings.entropy, settings.seed
    fitting, held_out = (
        entropy.draw_pieces(codec, split, chosen.seconds, seed) for split in (TRAIN, VALID)
    )
    seconds = sum(symbols.shape[1] for symbols, _ in held_out) / codec.config.frame_rate
    bits = entropy.refine_context(
        prior, fitting, held_out, chosen.steps, chosen.learning_rate, seed
    )
    pieces = [(symbols[None], level) for symbols, level in fitting]
    frozen = codec.freeze().frozen_tables()
    assert isinstance(frozen, context.ContextTables)
    codec.tables = context.recount(frozen, pieces)
    return bits[0] / seconds / 1000, bits[1] / seconds / 1000


def fit_indices(
    codec: AudioCodec, prior: CategoricalPrior, settings: Params
) -> tuple[float, float]:
    """Count a residual quantizer's tables; validation kbps without neighbours, and as it is left.

    Of little audio, neighbours tell less than their tables' noise costs: then they are not asked.
    """
    chosen = settings.entropy
    fitting, held_out = (
        [piece for piece, _ in entropy.draw_pieces(codec, split, chosen.seconds, settings.seed)]
        for split in (TRAIN, VALID)
    )
    prior.fit(torch.from_numpy(np.concatenate(fitting, axis=1)))
    alone = codec.freeze().frozen_tables()
    counted = index_context.fit(fitting, codec.config.codebook_size)
    seconds = sum(piece.shape[1] for piece in held_out) / codec.config.frame_rate
    before, after = (
        sum(float(payloads.symbol_bits(piece[None], 0, one).sum()) for piece in held_out)
        for one in (alone, counted)
    )
    codec.tables = counted if after < before else alone
    return before / seconds / 1000, min(before, after) / seconds / 1000


def fit_factorized(
    codec: AudioCodec, prior: FactorizedPrior | CategoricalPrior, settings: Params
) -> tuple[float, float]:
    """Train another prior on, and freeze it; validation kbps before and after."""
    fitting = entropy.draw_symbols(codec, TRAIN, settings.entropy.seconds, settings.seed)
    held_out = entropy.draw_symbols(codec, VALID, settings.entropy.seconds, settings.seed)
    seconds = held_out.shape[1] / codec.config.frame_rate
    before, after = (
        bits / seconds / 1000
        for bits in entropy.refine(
            prior,
            fitting,
            held_out,
            settings.entropy.steps,
            settings.entropy.learning_rate,
            settings.seed,
        )
    )
    codec.freeze()
    return before, after


if __name__ == "__main__":
    enter(main)
