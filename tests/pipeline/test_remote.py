"""Results through an S3 remote to a fresh clone, against a server on this machine."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.faults.projects import outputs, synthetic
from tests.project import Project


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 with the bucket `bench`."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed (extra s3)")
    pytest.importorskip("moto.server", reason="moto[server] is not installed (extra dev)")
    import boto3
    from moto.server import ThreadedMotoServer

    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(port=0)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bench")
    yield url
    server.stop()


def done(project: Project, *words: str) -> str:
    found = project.dvc(*words)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.slow
def test_a_fresh_clone_pulls_and_runs_nothing(s3: str, tmp_path: Path) -> None:
    (tmp_path / "origin").mkdir()
    origin = synthetic(tmp_path / "origin", seconds=0.1)
    done(origin, "repro")
    done(origin, "remote", "add", "--default", "storage", "s3://bench/rdcodec")
    done(origin, "remote", "modify", "storage", "endpointurl", s3)
    done(origin, "push", "--run-cache")
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", "add", "--all"], cwd=origin.folder, check=True)
    subprocess.run(["git", *who, "commit", "-q", "-m", "run"], cwd=origin.folder, check=True)

    clones = []
    for name in ("clone", "unlocked"):
        subprocess.run(["git", "clone", "-q", origin.folder, tmp_path / name], check=True)
        clones.append(Project.of(tmp_path / name))
        assert not (tmp_path / name / "out").exists()
    clone, unlocked = clones

    done(clone, "pull")
    assert json.loads(done(clone, "status", "--json")) == {}
    assert "Running stage" not in done(clone, "repro")
    assert outputs(clone.folder) == outputs(origin.folder)

    # Before dvc.lock is committed, too: DVC knows what was made of which inputs.
    (unlocked.folder / "dvc.lock").unlink()
    done(unlocked, "fetch", "--run-cache")
    assert "Running stage" not in done(unlocked, "repro", "--pull")
    assert outputs(unlocked.folder) == outputs(origin.folder)


def test_every_out_of_the_pipeline_travels() -> None:
    """One that neither DVC nor git keeps would run its stage again in each fresh clone."""
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        stage = stage.get("do", stage)
        for out in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
            facts = next(iter(out.values())) if isinstance(out, dict) else {}
            assert facts.get("cache", True), f"{name}: {out}"
