"""What a machine lends to stages."""

import threading

import pytest

from pipeline.running import resources
from pipeline.running.graph import Meta
from pipeline.running.resources import VISIBLE, Machine


def at_work_together(machine: Machine, wanted: list[Meta]) -> list[dict[str, str]]:
    """Lend to all at once; the environments, once all have ended."""
    seen: list[dict[str, str]] = []

    def work(meta: Meta) -> None:
        with machine.lent(meta) as variables:
            assert machine.free_cores >= 0
            assert machine.free_memory >= 0
            seen.append(variables)
            threading.Event().wait(0.01)

    threads = [threading.Thread(target=work, args=(meta,)) for meta in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    return seen


def test_cores_and_memory_are_never_lent_twice() -> None:
    machine = Machine(cores=2, memory=8.0)
    wanted = [Meta(cores=index % 4, memory=3.0 * (index % 5)) for index in range(20)]
    assert at_work_together(machine, wanted) == [{}] * 20
    assert (machine.free_cores, machine.free_memory) == (2, 8.0)


def test_a_gpu_has_one_stage_at_a_time() -> None:
    machine = Machine(cores=4, memory=8.0, gpus=["GPU-1", "GPU-2"])
    stage = Meta(cores=0, gpu=1)
    with machine.lent(stage) as first, machine.lent(stage) as second:
        assert {first[VISIBLE], second[VISIBLE]} == {"GPU-1", "GPU-2"}
        stopped = threading.Event()
        stopped.set()
        with machine.lent(stage, stopped.is_set) as third:
            assert third == {VISIBLE: ""}
    seen = at_work_together(machine, [stage] * 6)
    assert {variables[VISIBLE] for variables in seen} == {"GPU-1", "GPU-2"}
    assert sorted(machine.free_gpus) == ["GPU-1", "GPU-2"]


def test_who_must_wait_says_so_before() -> None:
    machine = Machine(cores=2, memory=8.0)
    said, lent = threading.Event(), threading.Event()

    def work() -> None:
        with machine.lent(Meta(), waits=said.set):
            lent.set()

    thread = threading.Thread(target=work)
    with machine.lent(Meta(), waits=pytest.fail), machine.lent(Meta(), waits=pytest.fail):
        thread.start()
        assert said.wait(10)
        assert not lent.is_set()
    assert lent.wait(10)
    thread.join(10)


def test_other_stages_see_no_gpu() -> None:
    with Machine(cores=4, memory=8.0, gpus=["0"]).lent(Meta(cores=1)) as variables:
        assert variables == {VISIBLE: ""}


def test_gpus_are_those_that_we_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv(VISIBLE, "3,1")
    assert resources.gpus() == ["3", "1"]
    monkeypatch.setenv(VISIBLE, "")
    assert resources.gpus() == []
    monkeypatch.delenv(VISIBLE)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho GPU-aa\necho GPU-bb\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert resources.gpus() == ["GPU-aa", "GPU-bb"]


def test_memory_is_not_more_than_the_container_may_use(monkeypatch, tmp_path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    monkeypatch.setattr(resources, "CGROUP_LIMIT", limit)
    assert resources.memory() > 0
    limit.write_text("500000000\n")
    assert resources.memory() == 0.5
