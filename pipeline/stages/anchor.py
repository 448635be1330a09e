"""anchor: the test clips through Opus at one bitrate, to files and back."""

from pipeline import params
from pipeline.coders import build
from pipeline.coders.bench import code_clips
from pipeline.stage import run
from pipeline.stages.prepare import TEST


def main(kbps: str) -> None:
    point = f"opus-{kbps}"
    code_clips(point, build(*params.load().coder_of(point)), TEST)


if __name__ == "__main__":
    run(main)
