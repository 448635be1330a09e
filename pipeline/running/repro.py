"""`python -m pipeline.running.repro` is `dvc`, with files of state that no kill can cut in two."""

import sys

from dvc.cli import main

from pipeline.running.state import hash_what_can_be, keep_whole, read_plainly

if __name__ == "__main__":
    keep_whole()
    hash_what_can_be()
    read_plainly()
    sys.exit(main(sys.argv[1:]))
