"""The metrics' self-test: passes for the real ones, and for nothing else."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from codec.errors import UserError
from pipeline.metrics import Metric, Unscorable, installed, selftest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where nothing has passed yet


def test_the_metrics_are_themselves() -> None:
    selftest.require()


def test_what_passed_is_not_asked_again_until_something_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(selftest, "require_one", lambda metric: asked.append(metric.name))
    selftest.require()
    assert asked == list(installed())
    selftest.require()
    assert asked == list(installed())
    monkeypatch.setattr(selftest, "distributions", list)  # another set of packages
    selftest.require()
    assert asked == 2 * list(installed())


def test_what_failed_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(metric: Metric) -> None:
        raise UserError(metric.name)

    monkeypatch.setattr(selftest, "require_one", fails)
    for _ in range(2):
        with pytest.raises(UserError):
            selftest.require()


def swapped(metric: Metric) -> Metric:
    def function(*, reference, degraded, sample_rate):
        return metric.function(reference=degraded, degraded=reference, sample_rate=sample_rate)

    return dataclasses.replace(metric, function=function)


def never_refuses(metric: Metric) -> Metric:
    def function(**arguments):
        try:
            return metric.function(**arguments)
        except Unscorable:
            return metric.bounds[0]

    return dataclasses.replace(metric, function=function)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("pesq_wb", swapped, "gives a degraded signal of the self-test 1.7"),
        ("stoi", swapped, "gives a degraded signal"),
        ("visqol_speech", swapped, "gives a degraded signal"),
        ("visqol_audio", swapped, "gives a degraded signal"),
        ("pesq_wb", never_refuses, "gives 0.1 s a score"),
        ("visqol_audio", never_refuses, "gives 0.1 s a score"),
        (
            "visqol_speech",
            lambda metric: dataclasses.replace(
                metric, function=installed()["visqol_audio"].function
            ),
            "gives a copy",
        ),
    ],
)
def test_a_metric_that_is_not_itself_is_named(name, change, message) -> None:
    with pytest.raises(UserError, match=f"^{name} .*{message}"):
        selftest.require_one(change(installed()[name]))


def test_the_signals_are_of_one_shape_and_within_range() -> None:
    reference, degraded = selftest.signals()
    assert reference.shape == degraded.shape
    assert np.abs(reference).max() < 1
