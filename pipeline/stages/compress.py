"""compress: the test clips through one trained model, to files and back.

The name is that of a model, or of one of the `layers`: a model with its first codebooks alone.
"""

import torch

from pipeline import params
from pipeline.coders import build
from pipeline.coders.bench import code_clips
from pipeline.stage import run
from pipeline.stages.prepare import TEST


def main(name: str) -> None:
    torch.set_num_threads(1)
    point = f"neural-{name}"
    code_clips(point, build(*params.load().coder_of(point)), TEST)


if __name__ == "__main__":
    run(main)
