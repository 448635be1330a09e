"""Prefect's dashboard of a real run: its graph, its logs, its artifacts."""

import re
from collections.abc import Iterator

import pytest

from tests.pipeline import toy

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 60_000  # ms


@pytest.fixture(scope="module")
def run(chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The dashboard's address, and a run of the small project."""
    folder = toy.make(tmp_path_factory.mktemp("dashboard"))
    with toy.server(folder) as api:
        done = toy.rdcodec(folder, "run", "join", "train", api=api)
        assert "5 stages run" in done.stdout, done.stderr
        yield api.removesuffix("/api"), toy.flow_runs(api)[0]["id"]


@pytest.fixture
def page(chromium, run) -> Iterator[object]:
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(WAIT)
    page.goto(f"{run[0]}/runs/flow-run/{run[1]}")
    yield page
    page.close()


def test_the_run_has_its_logs(page) -> None:
    page.get_by_text("step one of x").first.wait_for()
    page.get_by_text("5 stages run, 0 unchanged").first.wait_for()


def test_every_stage_is_a_task_run(page) -> None:
    page.get_by_role("tab", name="Task Runs").click()
    for stage in ("a", "b@x", "b@y", "train", "join"):
        page.get_by_text(re.compile(rf"^{stage}-\w+$")).first.wait_for()


def test_the_graph_is_drawn_with_its_edges(page, run) -> None:
    page.locator("canvas").first.wait_for()
    # The canvas is drawn from this answer.
    answer = page.request.get(f"{run[0]}/api/flow_runs/{run[1]}/graph-v2").json()
    nodes = dict(answer["nodes"])
    label = {key: node["label"].rpartition("-")[0] for key, node in nodes.items()}
    edges = {
        (label[parent["id"]], label[key])
        for key, node in nodes.items()
        for parent in node["parents"]
    }
    assert edges == {
        ("a", "b@x"), ("a", "b@y"), ("a", "train"), ("b@x", "join"), ("b@y", "join"),
    }  # fmt: skip


def test_the_losses_are_an_artifact(page) -> None:
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("losses").first.click()
    page.get_by_text("0.75").first.wait_for()
