"""The machine around it: proxies, git, other people's checkouts."""

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from codec.errors import UserError
from pipeline.git import git
from pipeline.report import provenance
from pipeline.results import compare
from pipeline.running.server import spare_loopback
from tests.conftest import ROOT
from tests.project import Project

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        # Set first, so that what the code adds is taken back, too.
        for spelling in (name, name.lower()):
            monkeypatch.setenv(spelling, "")
            monkeypatch.delenv(spelling)


def way(url: str) -> str:
    """What httpx sends a request for this address through."""
    with httpx.Client() as client:
        pool = client._transport_for_url(httpx.URL(url))._pool
        return type(pool).__name__


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_is_for_others_than_this_machine(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org, .local")
    assert way("http://127.0.0.1:4200") == "HTTPProxy"
    spare_loopback()
    spare_loopback()
    for host in ("127.0.0.1", "localhost", "[::1]", "example.org"):
        assert way(f"http://{host}:4200/api") == "ConnectionPool"
    assert way("http://example.com") == "HTTPProxy"
    expected = "example.org,.local,127.0.0.1,localhost,::1"
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == expected


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
def test_a_socks_proxy_ends_nothing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    spare_loopback()
    assert way("http://127.0.0.1:4200/api") == "ConnectionPool"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # whose git trusts no folder
    (tmp_path / "p").mkdir()
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def test_a_folder_without_git_is_told_so(checkout: Path) -> None:
    assert "not under git" in provenance.revision()
    with pytest.raises(UserError, match="HEAD: neither a folder nor a git revision: not under git"):
        compare.load("HEAD")
    subprocess.run(["git", "init", "-q"], check=True)
    assert "no commit" in provenance.revision()
    with pytest.raises(
        UserError, match=r"absent: neither a folder nor .*: fatal: Needed a single revision"
    ):
        compare.load("absent")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_checkout_of_another_owner_is_told_so(checkout: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    for path in (checkout, checkout / ".git"):
        os.chown(path, 12_345, 12_345)
    assert "belongs to another user" in provenance.revision()
    with pytest.raises(UserError, match=r"safe\.directory"):
        git("status")


def test_a_run_without_git_says_what_helps(checkout: Path) -> None:
    for name in ("codec", "pipeline"):
        (checkout / name).symlink_to(ROOT / name)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, checkout / name)
    shutil.copytree(ROOT / ".dvc", checkout / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    (checkout / ".dvc" / "config").write_text("")
    done = Project.of(checkout).rdcodec("run", "--dry-run")
    assert done.returncode == 2
    assert "git init" in done.stderr
    assert "core.no_scm true" in done.stderr
    assert done.stderr.count("\n") == 1
