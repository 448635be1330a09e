"""Every command of rdcodec that the pages give exists, with its options and its parameters."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import codec
from pipeline import coders, params
from pipeline.cli import app
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOT_COMMAND = typer.main.get_command(app)
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"^\w+=")


def commands(page: Path) -> list[list[str]]:
    """The words of each command in the page's shell blocks."""
    lines = "".join(BLOCK.findall(page.read_text())).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    return [
        words[next((i for i, word in enumerate(words) if not ASSIGNMENT.match(word)), 0) :]
        for words in found
        if words
    ]


def parsed(words: list[str]) -> dict[str, Any]:
    """What a command of rdcodec makes of its words; an error where it does not know one."""
    command = ROOT_COMMAND.commands[words[1]]
    context = command.make_context(words[1], [], resilient_parsing=True)
    given, _, _ = command.make_parser(context).parse_args(words[2:])
    return given


def test_examples_in_the_help_are_commands() -> None:
    with_examples = set()
    for name, command in ROOT_COMMAND.commands.items():
        for line in re.findall(r"^(?:.*\| )?(rdcodec .*)$", command.help, re.MULTILINE):
            words = shlex.split(line)
            assert words[1] == name, line
            parsed(words)
            with_examples.add(name)
    assert with_examples >= {"encode", "decode", "run", "score", "compare", "check"}


def test_the_version_is_said_and_shells_complete_words() -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["--version"]).output == f"rdcodec {codec.__version__}\n"
    asked = {"_RDCODEC_COMPLETE": "complete_bash", "COMP_WORDS": "rdcodec enc", "COMP_CWORD": "1"}
    assert runner.invoke(app, env=asked, prog_name="rdcodec").output.split() == ["encode"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The coder that docs/own-coder.md has just installed.
    monkeypatch.setattr(coders, "known", lambda: ["half-rate", *sorted(coders.OWN)])
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands(page):
        if words[0] == "make":
            assert words[1] in targets, words
        if words[0] != "rdcodec" or words[1].startswith("--"):
            continue
        given = parsed(words)
        if given.get("assignments") or given.get("variants"):
            shutil.copy(ROOT / "params.yaml", tmp_path)
            params.change(
                given.get("assignments") or [],
                tmp_path / "params.yaml",
                variants=given.get("variants") or [],
            )
            params.load(tmp_path / "params.yaml")


def test_pages_link_to_pages_that_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
