"""Writing: never onto the input, never in place of what is no file, and what pipes are for."""

import io
import math
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec import audio, batch, containers
from codec.errors import UserError
from codec.files import is_stream, replacing, write_bytes
from tests.conftest import ROOT
from tests.field.conftest import MODEL, invoke, rdcodec

RDC = ROOT / "tests" / "golden" / "spectral.rdc"


def refused(error: BaseException | None, words: str) -> None:
    assert isinstance(error, UserError), error
    assert words in str(error)


def test_an_output_that_is_the_input_is_refused(wav: Path) -> None:
    before = wav.read_bytes()
    (wav.parent / "d").mkdir()
    os.link(wav, wav.parent / "hard.wav")
    (wav.parent / "soft.wav").symlink_to("a.wav")
    for out in ("d/../a.wav", "hard.wav", "soft.wav"):
        done = invoke("encode", wav, wav.parent / out, "--force", "--model", MODEL)
        refused(done.exception, "is the input itself")
    with pytest.raises(UserError, match="is the input itself"):
        batch.trim_file(wav, wav, 1)
    assert wav.read_bytes() == before


def test_a_fifo_stays_one_and_gets_the_file(wav: Path) -> None:
    fifo = wav.parent / "pipe"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()), daemon=True)
    reader.start()
    done = invoke("encode", wav, fifo, "--force", "--model", MODEL)
    assert done.exception is None
    reader.join(20)
    assert fifo.is_fifo()
    invoke("encode", wav, wav.parent / "b.rdc", "--model", MODEL)
    assert got == [(wav.parent / "b.rdc").read_bytes()]


def test_what_fails_writes_nothing_into_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with suppress(ValueError), replacing(f"/dev/fd/{writing}") as scratch:
        scratch.write_text("half")
        raise ValueError
    os.close(writing)
    with os.fdopen(reading, "rb") as rest:
        assert rest.read() == b""


def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real").write_text("old")
    (tmp_path / "link").symlink_to("disk/real")
    (tmp_path / "new").symlink_to("disk/later")
    for name, real in (("link", "real"), ("new", "later")):
        write_bytes(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "disk" / real).read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["disk", "link", "new"]
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(UserError, match="links lead in a circle"):
        write_bytes(tmp_path / "one", b"new")


@pytest.mark.parametrize("words", [("", "a.rdc"), ("a.wav", "")])
def test_an_empty_name_is_not_this_folder(
    words: tuple[str, str], wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(wav.parent)
    before = sorted(os.listdir())
    done = invoke("encode", *words, "--force")
    assert done.exit_code == 2
    assert sorted(os.listdir()) == before


def test_folders_and_ways_through_files_are_said(wav: Path) -> None:
    folder = wav.parent / "folder"
    folder.mkdir()
    with pytest.raises(UserError, match="is a folder"):
        write_bytes(folder, b"")
    done = invoke("encode", wav, wav / "x.rdc", "--model", MODEL)
    refused(done.exception, "which is no folder")
    # As cp does.
    for out in (folder, f"{wav.parent}/new/"):
        assert invoke("encode", wav, out, "--model", MODEL).exception is None
        assert (Path(out) / "a.rdc").is_file()


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    for name in ("n" * 251 + ".rdc", "日" * 83 + ".wav1"):
        write_bytes(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"
    done = rdcodec("trim", RDC, tmp_path / ("n" * 300), "--codebooks", 1)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1


def test_pipes_are_read_and_written(wav: Path, tmp_path: Path) -> None:
    plain = rdcodec("encode", wav, tmp_path / "b.rdc", "--model", MODEL)
    assert plain.returncode == 0, plain.stderr
    coded = (tmp_path / "b.rdc").read_bytes()
    done = rdcodec("encode", "-", "-", "--model", MODEL, input=wav.read_bytes(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, coded)
    assert b"kbps" in done.stderr
    done = rdcodec("decode", "-", "-", "--model", MODEL, input=coded, cwd=tmp_path)
    assert not (tmp_path / "-").exists()
    (tmp_path / "c.wav").write_bytes(done.stdout)
    assert audio.read(tmp_path / "c.wav")[0].shape == audio.read(wav)[0].shape
    words = f"encode <(cat '{wav}') '{tmp_path}/d.rdc' --model '{MODEL}'"
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m codec {words}"], capture_output=True, check=False
    )
    assert (tmp_path / "d.rdc").read_bytes() == coded, done.stderr


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("option", ["--start", "--duration"])
def test_times_are_numbers(tmp_path: Path, option: str, value: float) -> None:
    out = tmp_path / "b.wav"
    done = invoke("decode", RDC, out, f"{option}={value}", "--model", MODEL)
    assert done.exit_code
    if isinstance(done.exception, Exception):  # else the command line's own check said it
        refused(done.exception, f"{option} {value}")
    assert not out.exists()


def test_a_stream_is_known_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.mkfifo(tmp_path / "fifo")
    streams = ("/dev/stdin", "/dev/stdout", "/dev/null", "/dev/fd/7", tmp_path / "fifo")
    assert all(is_stream(Path(path)) for path in streams)
    assert not any(is_stream(path) for path in (tmp_path, tmp_path / "a", tmp_path / "absent"))


def test_a_wav_of_more_than_4_gib_is_another_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = np.zeros((2, 1000), np.float32)
    monkeypatch.setattr(audio, "LARGEST_WAV", 7_999)
    out = tmp_path / "a.wav"
    with pytest.raises(UserError, match="more than 4 GiB"):
        audio.write_parts(out, [part] * 2, 8_000, 2)
    assert not out.exists()
    assert audio.write_parts(out, [part] * 2, 8_000, 2, length=2_000) == 2_000
    assert out.read_bytes()[:4] == b"RF64"
    assert audio.read(out)[0].shape == (2, 2_000)


def test_reading_to_the_end_of_a_file_that_outgrew_its_header() -> None:
    """As recorders write that count to 4 GiB and begin again; nothing on the disk is so large."""

    class Long(io.BytesIO):
        size = (1 << 32) + 100_000

        def seek(self, offset: int, whence: int = 0) -> int:
            if whence == io.SEEK_END:
                offset, whence = self.size + offset, io.SEEK_SET
            return super().seek(offset, whence)

    head = io.BytesIO()
    soundfile.write(head, np.ones((100, 2)) / 4, 8_000, format="WAV", subtype="PCM_16")
    file = containers.whole_riff(Long(head.getvalue()), Long.size)
    assert (file.samplerate, file.channels) == (8_000, 2)
    assert file.frames == (Long.size - 44) // 4
    assert file.read(1).tolist() == [[0.25, 0.25]]
