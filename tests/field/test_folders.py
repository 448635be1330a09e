"""Folders: every file its own output or its own line, whatever is in there, and soon."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from codec import audio, batch
from codec.files import below
from codec.process import Died
from tests.conftest import ROOT, tone
from tests.field.conftest import MODEL, rdcodec

LATIN = "a\udce9.wav"


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            soundfile.write(file, tone(0.2, 8_000).T, 8_000, format="WAV")
    return folder


def outputs(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def encode(source: Path, jobs: int = 1) -> tuple[tuple[int, int, list[str]], list[str]]:
    target = source.parent / "out"
    return batch.encode_folder(source, target, MODEL, jobs, False), outputs(target)


def test_hostile_names_and_files_and_links(tmp_path: Path) -> None:
    """One pool for all, because each takes seconds to start."""
    source = files(tmp_path / "in", "a.wav", "a.flac", "a.wav.flac", "b/c.wav", "B/C.wav", LATIN,
                   "deep/" * 40 + "x.wav", "n" * 240 + ".wav")  # fmt: skip
    files(tmp_path / "disk", "d.wav", "back/e.wav")
    (source / "more").symlink_to("../disk")
    (tmp_path / "disk" / "circle").symlink_to("../in")
    (source / "gone.wav").symlink_to("nowhere.wav")
    os.mkfifo(source / "fifo.wav")
    (source / "text.wav").write_text("no")
    # What a kill leaves, and what macOS adds.
    for name in (".b.part.wav", "._a.wav"):
        (source / name).write_bytes(b"\0\5\26\7")
    (done, kept, failed), found = encode(source)
    assert (done, kept) == (10, 0)
    reasons = dict(line.removeprefix(f"{source}/").split(": ", 1) for line in failed)
    assert sorted(reasons) == ["fifo.wav", "gone.wav", "text.wav"]
    assert reasons["fifo.wav"] == "is a pipe or a device, not a file"
    assert reasons["gone.wav"] == "no such file"
    rdc = [name for name in found if name.endswith(".rdc")]
    assert len(rdc) == 10
    assert {"a.wav.rdc", "a.flac.rdc", "a.wav.flac.rdc", "a\udce9.rdc", "more/d.rdc",
            "more/back/e.rdc"} <= set(rdc)  # fmt: skip
    assert len({name.lower() for name in rdc}) == 10
    # The next run keeps all.
    (done, kept, failed), again = encode(source)
    assert (done, kept, len(failed)) == (0, 10, 3)
    assert again == found


def test_names_that_are_not_utf_8_on_the_command_line(wav: Path) -> None:
    odd = wav.parent / LATIN
    wav.rename(odd)
    done = rdcodec("encode", odd, odd.with_suffix(".rdc"), "--model", MODEL)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xe9.rdc: " in done.stdout or b"\\udce9.rdc: " in done.stdout
    assert odd.with_suffix(".rdc").is_file()
    out = odd.with_name("b\udce9.wav")
    audio.write(out, audio.read(odd)[0], 16_000)
    assert np.array_equal(audio.read(out)[0], audio.read(odd)[0])


def test_an_error_of_any_kind_is_that_file_s_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([MemoryError(), UnicodeError("odd"), PermissionError(13, "Permission denied"),
                   RuntimeError("a library's\nown words"), None])  # fmt: skip

    def work(source: Path, target: Path) -> None:
        if (error := next(errors)) is not None:
            raise error

    lines = [batch._try(work, (tmp_path / name, tmp_path / "out")) for name in "abcde"]
    assert lines == [
        f"{tmp_path}/a: MemoryError: ", f"{tmp_path}/b: UnicodeError: odd",
        f"{tmp_path}/c: Permission denied",
        f"{tmp_path}/d: RuntimeError: a library's own words", "",
    ]  # fmt: skip


def test_a_full_disk_ends_the_whole(tmp_path: Path) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    with pytest.raises(OSError, match="No space left"):
        batch._try(full, (tmp_path / "a", tmp_path / "b"))


def test_a_worker_that_dies_is_its_file_s_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = files(tmp_path / "in", "a.wav", "b.wav")
    monkeypatch.setattr(
        batch,
        "each",
        lambda work, jobs, *_: [(job, Died() if n else "") for n, job in enumerate(jobs)],
    )
    (done, _, failed), _ = encode(source)
    assert done == 1
    assert failed == [f"{source}/b.wav: {Died.reason}"]


def test_a_killed_command_leaves_no_worker(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    noise = np.random.default_rng(0).standard_normal(16_000 * 60) / 10
    for number in range(20):
        soundfile.write(source / f"{number:02}.wav", noise, 16_000)
    command = [sys.executable, "-m", "codec", "encode", source, tmp_path / "out", "--jobs", "2"]
    run = subprocess.Popen(
        [*command, "--model", MODEL], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    late = time.monotonic() + 120
    while not list(tmp_path.glob("out/*.rdc")):
        assert run.poll() is None
        assert time.monotonic() < late
        time.sleep(0.1)
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) >= 2
    run.send_signal(signal.SIGTERM)
    run.wait()
    _, left = psutil.wait_procs(children, timeout=10)
    for process in left:
        process.kill()
    assert not left


def test_the_cost_of_a_file_does_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is coded here: it is about what is done before the first one."""
    monkeypatch.setattr(batch, "_model", lambda name: None)

    def calls(count: int) -> int:
        source, target = tmp_path / f"in{count}", tmp_path / f"out{count}"
        for folder, ending in ((source, ".wav"), (target, ".rdc")):
            folder.mkdir()
            for number in range(count):
                (folder / f"{number}{ending}").touch()
        made = 0

        def called(frame: object, event: str, value: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        sys.setprofile(called)
        try:
            result = batch.encode_folder(source, target, MODEL, 1, False)
        finally:
            sys.setprofile(None)
        assert result == (0, count, [])
        return made

    calls(10)
    few, many = calls(300), calls(1_200)
    assert few > 300
    assert many < 5 * few


def test_each_folder_is_walked_once(tmp_path: Path) -> None:
    files(tmp_path / "in", "a/b.wav")
    (tmp_path / "in" / "again").symlink_to("a")
    (tmp_path / "in" / "a" / "up").symlink_to("..")
    (tmp_path / "in" / "x.wav").mkdir()
    found, refused = below(tmp_path / "in", (".wav",))
    assert [path.relative_to(tmp_path / "in").as_posix() for path in found] == ["a/b.wav"]
    assert refused == []
