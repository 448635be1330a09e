"""What real users' files, machines and scripts do: `python -m tests.field` and pytest's options."""

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main([str(Path(__file__).parent), *sys.argv[1:]]))
