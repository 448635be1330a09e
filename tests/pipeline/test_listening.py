import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from codec.errors import UserError
from pipeline.cli import app
from pipeline.results import listening

NUMBERS = itertools.count()


def session(test: str, listener: str, trials: list[dict], run: str = "abc") -> dict:
    return {
        "format": "rdcodec listening 1", "test": test, "listener": listener,
        "session": f"s{next(NUMBERS)}", "run": {"test": run, "revision": "1 of today"},
        "trials": trials,
    }  # fmt: skip


def abx(system: str, right: int, wrong: int) -> list[dict]:
    trial = {"clip": "c", "kind": "speech", "system": system, "x": "A"}
    return [trial | {"answer": "A"}] * right + [trial | {"answer": "B"}] * wrong


def save(folder: Path, *sessions: dict) -> list[Path]:
    paths = []
    for index, found in enumerate(sessions):
        paths.append(folder / f"{index}.json")
        paths[-1].write_text(json.dumps(found))
    return paths


def test_who_guesses_heard_nothing_and_who_is_always_right_did(tmp_path: Path) -> None:
    paths = save(
        tmp_path,
        session("abx", "ear", abx("neural-b050", 10, 0) + abx("opus-6", 10, 0)),
        session("abx", "guess", abx("neural-b050", 5, 5) + abx("opus-6", 9, 1)),
        session("abx", "nearly", abx("neural-b050", 8, 2) + abx("opus-6", 9, 1)),
    )
    neural, opus = listening.evaluate(listening.read(paths)).heard
    # 8 of 10 have p = 0.055: still guessing.
    assert (neural.system, neural.listeners, neural.unheard) == ("neural-b050", 3, 2)
    assert neural.right == pytest.approx(23 / 30)
    # Clopper and Pearson's interval of 2 of 3.
    assert (neural.low, neural.high) == pytest.approx((0.0943, 0.9916), abs=1e-4)
    assert (opus.unheard, opus.low) == (0, 0)
    assert opus.high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_sessions_of_one_listener_are_taken_together_and_few_answers_left_out(
    tmp_path: Path,
) -> None:
    paths = save(
        tmp_path,
        session("abx", "twice", abx("opus-6", 3, 0)),
        session("abx", "twice", abx("opus-6", 3, 0)),
        session("abx", "short", abx("opus-6", 4, 0)),
    )
    result = listening.evaluate(listening.read(paths))
    assert (result.heard[0].listeners, result.heard[0].unheard) == (1, 0)
    assert result.notes == ["opus-6: left out short: fewer than 5 answers"]


def test_ratings_leave_out_who_misses_the_reference(tmp_path: Path) -> None:
    def rated(listener: str, reference: float, own: float) -> dict:
        row = {"clip": "c", "kind": "music"}
        ratings = {"reference": reference, "neural-b050": own, "lowpass-3500": 20}
        return session("mushra", listener, [row | {"ratings": ratings}] * 4)

    paths = save(
        tmp_path, rated("a", 100, 60), rated("b", 95, 70), rated("c", 98, 50), rated("deaf", 50, 99)
    )
    result = listening.evaluate(listening.read(paths))
    found = {one.system: one for one in result.rated}
    assert found["neural-b050"].mean == pytest.approx(60)
    assert found["neural-b050"].low < 60 < found["neural-b050"].high
    assert found["neural-b050"].listeners == 3
    assert [one.system for one in result.rated] == ["reference", "neural-b050", "lowpass-3500"]
    assert "deaf left out" in result.notes[0]


@given(st.lists(st.booleans(), min_size=5, max_size=60))
def test_the_verdict_is_that_of_a_binomial_test(answers: list[bool]) -> None:
    trials = [
        listening.AbxTrial(clip="c", kind="speech", system="s", x="A", answer="A" if right else "B")
        for right in answers
    ]
    run = listening.Tested(test="t", revision="r")
    one = listening.Abx(
        format="rdcodec listening 1", test="abx", listener="l", session="s", run=run, trials=trials
    )
    found = listening.evaluate([one]).heard[0]
    # Summed by hand: how often guessing is right so often, or more often.
    count, right = len(answers), sum(answers)
    tail = sum(np.prod([(count - k) / (k + 1) for k in range(n)]) for n in range(right, count + 1))
    assert found.unheard == int(tail / 2.0**count >= 0.05)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a file of the listening test"),
        ("[]", "not a file of the listening test"),
        ('{"format": "rdcodec listening 9"}', "format: Input should be 'rdcodec listening 1'"),
    ],
)
def test_what_is_no_result_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"x\.json") as caught:
        listening.read([path])
    assert words in str(caught.value)


def test_other_runs_and_sessions_given_twice_are_refused(tmp_path: Path) -> None:
    first, other = save(
        tmp_path,
        session("abx", "a", abx("opus-6", 3, 3)),
        session("abx", "a", abx("opus-6", 3, 3), run="other"),
    )
    with pytest.raises(UserError, match=r"1.json: its listener heard other clips than that of"):
        listening.read([first, other])
    with pytest.raises(UserError, match="the same session"):
        listening.read([first, first])
    with pytest.raises(UserError, match="no such file"):
        listening.read([tmp_path / "none.json"])


def test_a_run_has_the_results_of_its_own_clips_alone(tmp_path: Path) -> None:
    (path,) = save(tmp_path, session("abx", "a", abx("general-24k-6", 5, 5)))
    assert listening.of_run([path], "abc").heard[0].unheard == 1
    assert listening.of_run([], "abc") is None
    with pytest.raises(UserError, match=r"0\.json: its listener heard other clips than this run's"):
        listening.of_run([path], "another")
    (few,) = save(tmp_path, session("abx", "a", abx("general-24k-6", 3, 1)))
    assert listening.of_run([few], "abc") is None  # too few answers to count


def test_the_command_prints_the_shares(tmp_path: Path) -> None:
    (path,) = save(tmp_path, session("abx", "a", abx("opus-6", 5, 5)))
    found = CliRunner().invoke(app, ["listening", str(path)])
    assert "opus-6: 1 of 1 listeners heard no difference: 100%" in found.stdout
    assert "50% of 10 answers right" in found.stdout
    as_json = json.loads(CliRunner().invoke(app, ["listening", "--json", str(path)]).stdout)
    assert as_json["heard"][0]["unheard"] == 1
