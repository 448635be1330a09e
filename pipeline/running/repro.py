"""`python -m pipeline.running.repro` is `dvc`, with files of state that no kill can cut in two."""

import sys

from dvc.cli import main

from pipeline.running.state import keep_whole

if __name__ == "__main__":
    keep_whole()
    sys.exit(main(sys.argv[1:]))
