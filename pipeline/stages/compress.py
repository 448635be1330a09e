"""compress: the test clips through one trained model, to files and back."""

import torch

from codec import checkpoint
from pipeline.coders.bench import code_clips
from pipeline.coders.neural import NeuralCoder
from pipeline.stage import run
from pipeline.stages.prepare import TEST
from pipeline.stages.train import MODELS


def main(name: str) -> None:
    torch.set_num_threads(1)
    code_clips(NeuralCoder(f"neural-{name}", MODELS / name / checkpoint.FILE_NAME), TEST)


if __name__ == "__main__":
    run(main)
