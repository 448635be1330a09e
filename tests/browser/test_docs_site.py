"""The documentation as a site, opened from a disk."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.browser


def test_the_site_opens_from_a_disk_is_searched_and_asks_nobody(chromium, tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("MkDocs is not installed: pip install 'rdcodec[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = chromium.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((tmp_path / "reference.html").as_uri())
    assert page.get_by_text("The codec of that released name, model folder or model file").count()
    found = page.locator(".md-search-result__item")
    for _ in range(20):  # who comes before the page's scripts have begun has to come again
        page.reload()
        page.wait_for_timeout(2000)
        page.fill("input[name=query]", "residual")
        page.wait_for_timeout(2000)
        if found.count():
            break
    assert found.count()
    page.goto((tmp_path / "index.html").as_uri())
    page.get_by_role("link", name="the report of").click()
    page.wait_for_selector("[data-metric=visqol_audio][data-drawn]")
    assert page.locator(".bars .rates i").count() > 3
    assert page.locator("#listen").count() == 0
    assert not wrong
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()
