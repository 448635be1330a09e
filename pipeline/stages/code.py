"""code: the test clips through one of `points` in params.yaml, to files and back.

Writes coded/<point>/, decoded/<point>/ and coded/<point>.csv. A point whose coder needs what this
machine does not have is skipped, with a note of the reason in place of its files.
"""

import torch

from pipeline import params
from pipeline.coders import Unavailable, build
from pipeline.coders.bench import code_clips, skip
from pipeline.layout import TEST
from pipeline.stage import enter, log


def main(point: str) -> None:
    torch.set_num_threads(1)
    try:
        coder = build(*params.load().coder_of(point))
    except Unavailable as missing:
        log.warning("%s is skipped: %s", point, missing)
        skip(point, str(missing))
        return
    code_clips(point, coder, TEST)


if __name__ == "__main__":
    enter(main)
