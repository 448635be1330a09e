"""anchor: the test clips through Opus at one bitrate, to files and back."""

from pipeline import params
from pipeline.coders.bench import code_clips
from pipeline.coders.opus import OpusCoder
from pipeline.stage import run
from pipeline.stages.prepare import TEST


def main(kbps: str) -> None:
    code_clips(OpusCoder(int(kbps), params.load().opus.settings), TEST)


if __name__ == "__main__":
    run(main)
