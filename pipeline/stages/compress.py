"""compress: the test clips through one trained model, to files and back.

The name is that of a model, or of one of the `layers`: a model with its first codebooks alone.
"""

import torch

from codec import checkpoint
from pipeline import params
from pipeline.coders.bench import code_clips
from pipeline.coders.neural import NeuralCoder
from pipeline.stage import run
from pipeline.stages.prepare import TEST
from pipeline.stages.train import MODELS


def main(name: str) -> None:
    torch.set_num_threads(1)
    layers = params.load().layers.get(name)
    model, codebooks = (layers.model, layers.codebooks) if layers else (name, None)
    path = MODELS / model / checkpoint.FILE_NAME
    code_clips(NeuralCoder(f"neural-{name}", path, codebooks), TEST)


if __name__ == "__main__":
    run(main)
