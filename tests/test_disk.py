"""Disks that are full, folders that are read-only, writers that were killed."""

import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from codec.files import replacing, write_bytes, write_text
from tests.conftest import ROOT, tone
from tests.pipeline import toy

STAGE = "from pipeline.stage import enter; from codec.files import write_text; enter({main})"


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A disk of ``size``, where this user may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a mebibyte."""
    with mounted(tmp_path / "disk", "512k") as folder:
        yield folder


def remount(folder: Path, how: str) -> None:
    done = subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("no file system can be remounted here")


def rdcodec(*words: str, **options) -> "subprocess.CompletedProcess[str]":
    options.setdefault("env", os.environ)
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True,
        **options | {"env": {**options["env"], "PYTHONPATH": str(ROOT)}},
    )  # fmt: skip


def one_line(done: "subprocess.CompletedProcess[str]", *facts: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for fact in facts:
        assert fact in done.stderr


NOISE = np.random.default_rng(0).uniform(-1, 1, (1_000_000, 1)).astype(np.float32)
WRITERS = {
    "text.csv": lambda path: path.write_text("x" * 2_000_000),
    "audio.flac": lambda path: soundfile.write(path, NOISE, 24_000),
    "state.pt": lambda path: torch.save(torch.from_numpy(NOISE), path),
    "model.safetensors": lambda path: save_file({"weights": torch.from_numpy(NOISE)}, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_names_it(disk: Path, name: str) -> None:
    """Whatever the library that writes makes of it."""
    path = disk / name
    path.write_text("old")
    with pytest.raises(OSError, match="No space left on device") as raised, replacing(path) as new:
        WRITERS[name](new)
    assert raised.value.filename == str(path)
    assert path.read_text() == "old"
    assert [found.name for found in disk.iterdir()] == [name]


def test_a_library_s_own_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt"):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_the_commands_say_one_line_of_a_full_disk(disk: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile(tone(4.0, 24_000), 4).T, 24_000)
    target = disk / "a.wav"
    rdcodec("-m", "pipeline.cli", "encode", str(tmp_path / "a.wav"), str(tmp_path / "a.rdc"))
    done = rdcodec("-m", "pipeline.cli", "decode", str(tmp_path / "a.rdc"), str(target))
    one_line(done, str(target), "No space left on device", "free some space")
    assert not list(disk.iterdir())


@pytest.mark.parametrize(
    ("main", "what"),
    [
        ("lambda: write_text('out/table.csv', 'x' * 2_000_000)", "No space left on device"),
        ("lambda: write_text('out/table.csv', 'x')", "Read-only file system"),
    ],
)
def test_a_stage_says_one_line_of_its_disk(disk: Path, main: str, what: str) -> None:
    if "Read-only" in what:
        remount(disk, "ro")
    done = rdcodec("-c", STAGE.format(main=main), cwd=disk)
    one_line(done, "out/table.csv" if "space" in what else "out", what)
    assert not [path for path in disk.rglob("*") if path.is_file()]


@pytest.mark.parametrize("which", ["folder", "home"])
@pytest.mark.parametrize("how", ["full", "ro"])
def test_a_run_says_one_line_of_its_disks(tmp_path: Path, which: str, how: str) -> None:
    """The project's, and the one where Prefect keeps its record."""
    with mounted(tmp_path / "disk", "8m") as disk:
        folder = toy.make(disk / "toy" if which == "folder" else tmp_path / "toy")
        home = disk if which == "home" else tmp_path / "home"
        if how == "full":
            with suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
                file.write(bytes(8 << 20))
        else:
            remount(disk, "ro")
        done = rdcodec(
            "-m", "pipeline.cli", "run", "a", cwd=folder,
            env={**toy.environment(folder), "PREFECT_HOME": str(home)},
        )  # fmt: skip
        said = "No space left on device" if how == "full" else "Read-only file system"
        one_line(done, str(home) if which == "home" else ".dvc/tmp", said)
        assert not (folder / "a.txt").exists()


@pytest.mark.slow
def test_a_run_goes_on_when_prefect_s_disk_is_full(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "32m") as disk:
        folder = toy.make(
            tmp_path / "toy",
            """
stages:
  a: {cmd: "dd if=/dev/zero of=$PREFECT_HOME/fill bs=1M count=64 || echo > a.txt", outs: [a.txt]}
  b: {cmd: seq 10000 && cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}
""",
        )
        done = rdcodec(
            "-m", "pipeline.cli", "run", "b", cwd=folder,
            env={**toy.environment(folder), "PREFECT_HOME": str(disk)},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 stages run, 0 unchanged" in done.stdout
    assert "500 Internal Server Error" in done.stderr or "cannot write" in done.stderr


def test_a_limit_of_file_sizes_is_one_line_too(tmp_path: Path) -> None:
    """This one needs no mount."""
    done = rdcodec(
        "-c", STAGE.format(main="lambda: write_text('table.csv', 'x' * 2_000_000)"), cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    one_line(done, "table.csv", "File too large")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    program = (
        "import os, signal; from codec.files import replacing\n"
        f"with replacing({str(path)!r}) as new:\n"
        "    new.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert rdcodec("-c", program).returncode == -9
    assert [found.name for found in tmp_path.iterdir()] == [".table.part.csv"]
    write_text(path, "whole")
    assert [found.name for found in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "whole"


def test_writers_of_one_file_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            if path.exists():
                seen.add(path.read_bytes())
            time.sleep(0.001)

    texts = [bytes([65 + number]) * 200_000 for number in range(8)]
    reader = threading.Thread(target=read)
    reader.start()
    writers = [
        threading.Thread(target=lambda text=text: [write_bytes(path, text) for _ in range(20)])
        for text in texts
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    reader.join()
    assert seen <= set(texts)
    assert [found.name for found in tmp_path.iterdir()] == ["a.bin"]


def test_finished_files_have_the_rights_of_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
