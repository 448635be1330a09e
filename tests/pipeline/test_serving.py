"""The listening test served to listeners: who is let in, what is kept, what is refused."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from codec.errors import UserError
from pipeline.report import serving
from pipeline.results import listening
from tests.conftest import ROOT
from tests.pipeline.test_listening import abx, session

HERE = "http://127.0.0.1:8000"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """As little of a report as the server reads."""
    folder = tmp_path / "reports"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets/listening.js").write_text("// the test\n")
    (folder / serving.PAGE).write_text("<!doctype html><html><head></head><body>test</body></html>")
    (folder / "index.html").write_text("what is what")
    tested = {"clips": 1, "seconds": 1.0, "fingerprint": "abc", "corpus": {}}
    (folder / "summary.json").write_text(json.dumps({
        "version": 2, "headline": [], "verdicts": {}, "points": {}, "bd_rate": [], "paired": [],
        "ablations": [], "unscored": [], "test": tested,
    }))  # fmt: skip
    return folder


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def listener(reports: Path, answers: Path) -> Callable[[], TestClient]:
    """Somebody who has opened the page, and somebody else with each call."""
    app = serving.application(reports, answers)

    def come() -> TestClient:
        client = TestClient(app, base_url=HERE)
        assert client.get("/").text.startswith("<!doctype html>")
        return client

    return come


def answered(name: str, number: int = 1, run: str = "abc") -> dict:
    return session("abx", name, abx("neural", 8, 0), run) | {"session": f"{number:016x}"}


def test_answers_are_kept_a_file_for_each_listener_and_counted(
    listener: Callable[[], TestClient], answers: Path
) -> None:
    for _ in range(2):
        client = listener()
        assert client.post("/answers", json=answered("Ann")).status_code == 201
    paths = sorted(answers.glob("*"))
    assert len(paths) == 2
    # One name, two people.
    (found,) = listening.evaluate(listening.read([paths[0]])).heard
    assert found.listeners == 1
    names = {json.loads(path.read_text())["listener"] for path in paths}
    assert len(names) == 2
    assert all(name.startswith("Ann ") for name in names)


def test_what_cannot_be_counted_is_refused_and_not_kept(
    listener: Callable[[], TestClient], answers: Path
) -> None:
    client = listener()
    for body, status, said in (
        (b"{", 422, "Expecting"),
        (b"\xff", 422, "utf-8"),
        (b"[]", 422, "not a file of the listening test"),
        (json.dumps(answered("a") | {"trials": []}).encode(), 422, "trials"),
        (json.dumps(answered("a") | {"session": "../../x"}).encode(), 422, "session"),
        (json.dumps(answered("a", run="other")).encode(), 409, "another run"),
        (b" " * (serving.LARGEST + 1), 413, "bytes"),
    ):
        response = client.post("/answers", content=body)
        assert response.status_code == status, body[:40]
        assert said in response.json()["detail"]
    assert client.post("/answers", json=answered("a")).status_code == 201
    assert client.post("/answers", json=answered("a")).status_code == 409
    assert len(list(answers.glob("*"))) == 1


def test_who_posts_too_often_waits_and_who_did_not_open_the_page_is_not_heard(
    listener: Callable[[], TestClient], reports: Path, answers: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(serving, "PER_MINUTE", 3)
    client = listener()
    codes = [client.post("/answers", json=answered("a", n)).status_code for n in range(5)]
    assert codes == [201, 201, 201, 429, 429]
    stranger = TestClient(serving.application(reports, answers), base_url=HERE)
    assert stranger.post("/answers", json=answered("b")).status_code == 403
    assert len(list(answers.glob("*"))) == 3


def test_a_listener_has_so_many_sessions(
    listener: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PER_LISTENER", 2)
    client = listener()
    codes = [client.post("/answers", json=answered("a", n)).status_code for n in range(3)]
    assert codes == [201, 201, 429]
    assert listener().post("/answers", json=answered("a")).status_code == 201


def test_only_the_test_is_served(listener: Callable[[], TestClient]) -> None:
    client = listener()
    assert client.get("/assets/listening.js").text == "// the test\n"
    assert '<meta name="answers"' in client.get("/listening.html").text
    for path in ("/index.html", "/summary.json", "/assets/..%2findex.html", "/docs", "/answers"):
        assert client.get(path).status_code in (404, 405), path


def test_another_site_s_name_for_this_machine_is_not_served(reports: Path, answers: Path) -> None:
    app = serving.application(reports, answers)
    assert TestClient(app, base_url="http://evil.example").get("/").status_code == 400


def test_on_a_network_the_link_s_token_lets_in(reports: Path, answers: Path) -> None:
    app = serving.application(reports, answers, "secret")
    for path in ("/", "/listening.html", "/assets/listening.js", "/?token=wrong", "/?token=é"):
        assert TestClient(app, base_url="http://host.lan").get(path).status_code == 403, path
    client = TestClient(app, base_url="http://host.lan")
    assert client.post("/answers", json=answered("a")).status_code == 403
    assert client.get("/?token=secret").status_code == 200
    # From then on by a cookie that scripts and other sites do not get.
    assert client.get("/assets/listening.js").status_code == 200
    assert client.post("/answers", json=answered("a")).status_code == 201
    given = client.get("/?token=secret", follow_redirects=False).headers["set-cookie"].lower()
    assert "httponly" in given
    assert "samesite=strict" in given


def test_a_folder_without_a_test_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"listening\.html: not there; `rdcodec run` makes it"):
        serving.application(tmp_path, tmp_path / "answers")


def test_a_port_that_is_taken_is_one_line(reports: Path, answers: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port}: Address already in use; give"):
            serving.serve(reports, answers, "127.0.0.1", port)


def test_the_command_prints_its_link_and_ends_by_ctrl_c(reports: Path, answers: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "listening", "serve", "--port", "0",
         "--host", "0.0.0.0", "--reports", str(reports), "--answers", str(answers)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "?token=" in line
    port = line.partition("/?token=")[0].rpartition(":")[2]
    import httpx

    token = line.strip().partition("token=")[2]
    url = f"http://127.0.0.1:{port}/"
    assert httpx.get(url, trust_env=False).status_code == 403
    response = httpx.get(f"{url}?token={token}", follow_redirects=True, trust_env=False)
    assert response.status_code == 200
    process.send_signal(2)
    _, error = process.communicate(timeout=60)
    assert "Traceback" not in error
    assert process.returncode in (0, 130)
