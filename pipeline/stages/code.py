"""code: the test clips through one entry of `coders` in params.yaml, to files and back."""

import torch

from pipeline import params
from pipeline.coders import build
from pipeline.coders.bench import code_clips
from pipeline.stage import run
from pipeline.stages.prepare import TEST


def main(point: str) -> None:
    torch.set_num_threads(1)
    code_clips(point, build(*params.load().coder_of(point)), TEST)


if __name__ == "__main__":
    run(main)
