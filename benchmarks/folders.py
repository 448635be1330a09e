"""What a folder costs before its first file is coded: all outputs are there already.

Prints Markdown: seconds of processor time by the number of files, to encode and as a corpus.
"""

import tempfile
import time
from pathlib import Path

from codec import batch, checkpoint
from pipeline.corpora import folder


def seconds(count: int) -> tuple[float, float]:
    """For so many files, of which none has to be coded."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in", Path(name) / "out"
        for place, ending in ((source, ".wav"), (target, ".rdc")):
            place.mkdir()
            for number in range(count):
                (place / f"{number}{ending}").touch()
        began = time.process_time()
        done, kept, failed = batch.encode_folder(source, target, checkpoint.DEFAULT, 1, False)
        encoding = time.process_time() - began
        assert (done, kept, failed) == (0, count, [])
        began = time.process_time()
        assert len(folder.entries(source)) == count
        return encoding, time.process_time() - began


def main() -> None:
    """Measure and print."""
    seconds(1)  # loads the model
    print("| files | encode FOLDER | corpus |\n| ---: | ---: | ---: |")
    for count in (1_000, 10_000):
        encoding, corpus = seconds(count)
        print(f"| {count:,} | {encoding:.2f} s | {corpus:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
