"""code: the test clips through one of `points` in params.yaml, to files and back.

Writes coded/<point>/, decoded/<point>/ and coded/<point>.csv.
"""

import torch

from pipeline import params
from pipeline.coders import build
from pipeline.coders.bench import code_clips
from pipeline.layout import TEST
from pipeline.stage import enter


def main(point: str) -> None:
    torch.set_num_threads(1)
    code_clips(point, build(*params.load().coder_of(point)), TEST)


if __name__ == "__main__":
    enter(main)
