"""Corpora: folders and manifests as people have them, vetted before anything is spent on them."""

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dvc_objects.fs.local import FsspecLocalFileSystem

from codec.errors import UserError
from pipeline.corpora import folder
from pipeline.running.state import hash_what_can_be
from tests.field.test_reading import muxed
from tests.project import Project

RATE = 16_000
TABLES = {
    "plain": "file,kind,source\na.wav,speech,s1\nb.wav,music,s2\n",
    "spaces": "file, kind, source\na.wav, speech, s1\nb.wav , music, s2\n",
    "capitals": "File,Kind,Source\na.wav,Speech,s1\nb.wav,MUSIC,s2\n",
    "last comma": "file,kind,source\na.wav,speech,s1,\nb.wav,music,s2,\n",
    "last commas": "file,kind,source,\na.wav,speech,s1,\nb.wav,music,s2,\n",
    "semicolons": "file;kind;source\na.wav;speech;s1\nb.wav;music;s2\n",
    "tabs": "file\tkind\tsource\na.wav\tspeech\ts1\nb.wav\tmusic\ts2\n",
    "mark": "\ufefffile,kind,source\na.wav,speech,s1\nb.wav,music,s2\n",
    "mac": "file,kind,source\r\na.wav,speech,s1\r\n\r\nb.wav,music,s2\r\n,,\r\n",
    "quotes": '"file","kind","source"\n"a.wav", "speech","s1"\n"b.wav","music","s2"\n',
    "Windows": "file,kind,source\n.\\a.wav,speech,s1\n.\\b.wav,music,s2\n",
    "unnamed": ",file,kind,source\n0,a.wav,speech,s1\n1,b.wav,music,s2\n",
}


def tone(path: Path, seconds: float = 1.0, pitch: float = 200.0, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)
    with path.open("wb") as file:
        kind = path.suffix[1:].upper()
        soundfile.write(file, np.stack([wave] * channels, 1), RATE, format=kind)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav"):
        tone(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", TABLES)
def test_manifests_as_spreadsheets_write_them(corpus: Path, name: str) -> None:
    (corpus / "manifest.csv").write_text(TABLES[name], encoding="utf-8", newline="")
    found = [(entry.path.name, entry.kind, entry.source) for entry in folder.entries(corpus)]
    assert found == [("a.wav", "speech", "s1"), ("b.wav", "music", "s2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,kind\na.wav,speech\n", "no column `file`; its columns: path, kind"),
        ("", "no column `file`"),
        ("file,kind,Kind\na.wav,speech,music\n", "two columns `kind`"),
        ("file,kind\na.wav,speech,s1\n", "line 2 has 3 fields, for 2 columns"),
        ("file,kind\n,speech\n", "line 2: column `file` is empty"),
        ("file,kind\na.wav,speech\na.wav,music\n", r"names a\.wav twice"),
        ("file,kind\na.wav,noise\n", "kind 'noise' of a.wav"),
    ],
)
def test_manifests_that_are_refused_by_column_or_line(
    corpus: Path, text: str, message: str
) -> None:
    (corpus / "manifest.csv").write_text(text)
    with pytest.raises(UserError, match=rf"manifest\.csv: .*{message}"):
        folder.entries(corpus)


def test_a_manifest_in_another_encoding_is_told_which_to_use(corpus: Path) -> None:
    (corpus / "manifest.csv").write_bytes("file,kind,source\na.wav,speech,Zoë\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        folder.entries(corpus)


def test_files_of_the_same_bytes_are_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        tone(tmp_path / "train" / f"{number}.wav", pitch=200 + number)
        tone(tmp_path / "test" / f"{number}.wav", pitch=300 + number)
    shutil.copy(tmp_path / "train" / "2.wav", tmp_path / "test" / "other.wav")
    for part in ("train", "test"):
        (tmp_path / part / "empty.wav").touch()
        (tmp_path / part / "gone.wav").symlink_to("nowhere")
    train, test = (folder.entries(tmp_path / part) for part in ("train", "test"))
    same = [(ours.path.name, theirs.path.name) for ours, theirs in folder.shared(train, test)]
    assert same == [("2.wav", "other.wav")]
    folder.check_apart(train, test)
    assert "share 1 of 7 test files" in caplog.text
    assert "2.wav and " in caplog.text
    assert "other.wav: scores of these are worth nothing" in caplog.text
    # By whatever way it is reached, one file does not both train and test.
    (tmp_path / "test" / "way.wav").symlink_to(tmp_path / "train" / "3.wav")
    with pytest.raises(UserError, match="share 2 of 8 test files"):
        folder.check_apart(train, folder.entries(tmp_path / "test"))


def test_linked_folders_count_and_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tone(tmp_path / "in" / "a.wav")
    tone(tmp_path / "disk" / "deep" / "b.wav")
    (tmp_path / "in" / "more").symlink_to("../disk")
    found = [entry.file for entry in folder.entries(tmp_path / "in")]
    assert found == ["a.flac", "more__deep__b.flac"]
    assert "more" in caplog.text
    assert "DVC does not see" in caplog.text


def hostile(place: Path) -> None:
    """What lies in many a folder of recordings, and names that come close to one another."""
    tone(place / "speech_a.wav", 1.0)
    tone(place / "speech_a.flac", 1.5, 800)
    tone(place / "x" / "speech_b.wav", 1.0, 300)
    tone(place / "x__speech_b.wav", 1.25, 500)
    tone(place / "speech_c.wav", 1.0, 250)
    tone(place / "speech_c.WAV", 1.75, 350)
    tone(place / "NA.wav", 1.0, 270)
    tone(place / ("d" * 60 + "/") / ("e" * 60) / ("f" * 60) / ("g" * 60) / "speech_deep.wav")
    tone(place / "speech_\udce9.wav", 1.0, 333)
    tone(place / "music_six.wav", channels=6)
    (place / "music_71.m4a").write_bytes(muxed("ipod", "aac", "7.1", 8))
    (place / "speech_gone.wav").symlink_to("gone.wav")
    (place / "speech_empty.wav").touch()
    os.mkfifo(place / "speech_fifo.wav")
    for name in ("._speech_a.wav", ".b.part.wav"):
        (place / name).write_bytes(b"\0\5\26\7")


def test_dvc_passes_over_what_it_could_not_hash(tmp_path: Path) -> None:
    hostile(tmp_path / "in")
    hash_what_can_be()
    walked = [
        Path(root, name).relative_to(tmp_path / "in").name
        for root, _, files in FsspecLocalFileSystem().walk(str(tmp_path / "in"), detail=True)
        for name in files
    ]
    assert "speech_a.wav" in walked
    assert "speech_deep.wav" in walked
    assert not {"speech_gone.wav", "speech_fifo.wav", "speech_\udce9.wav"} & set(walked)


@pytest.mark.slow
def test_a_hostile_folder_is_prepared(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    project = Project(tmp_path / "p")
    for number in range(4):
        tone(tmp_path / "train" / f"speech_{number}.wav", pitch=400 + 50 * number)
    hostile(tmp_path / "test")
    project.set(
        "corpus.source=folder", f"corpus.train={tmp_path}/train", f"corpus.test={tmp_path}/test",
        "corpus.mono=false", "models={low: {beta: 1.0}}", "points={neural-low: {coder: rdcodec, "
        "from: models/low/model.safetensors, series: neural}}",
    )  # fmt: skip
    done = project.run("pipeline.running.repro", "repro", "-s", "prepare")
    assert done.returncode == 0, done.stdout + done.stderr

    def table(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((project.folder / "data" / name).open(encoding="utf-8")))

    rows = table("test/manifest.csv")
    assert len({row["file"].lower() for row in rows}) == len(rows) == 9
    for row in rows:
        info = soundfile.info(project.folder / "data" / "test" / row["file"])
        assert info.duration == pytest.approx(float(row["seconds"]), abs=1e-3)
        assert len(row["file"].encode()) <= 200
    assert Counter(row["seconds"] for row in rows)["1.75"] == 1
    skipped = {Path(row["file"]).name: row["reason"] for row in table("skipped.csv")}
    assert set(skipped) == {
        "music_six.wav", "music_71.m4a", "speech_gone.wav", "speech_empty.wav", "speech_fifo.wav"
    }  # fmt: skip
    assert "has 6 channels" in skipped["music_six.wav"]
    assert "no such file" in skipped["speech_gone.wav"]
    assert "pipe" in skipped["speech_fifo.wav"]
    # The same folder for both is refused, and by name.
    project.set(f"corpus.train={tmp_path}/test")
    done = project.run("pipeline.stages.prepare")
    assert done.returncode == 2
    assert "corpus.train and corpus.test share" in done.stderr
