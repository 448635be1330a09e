"""The report of a small run, to be opened in a browser."""

from pathlib import Path

import pytest

from tests.browser import site


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """index.html of a run with nine short clips."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # decoded/ lies where the pipeline runs
        return site.build(folder)
