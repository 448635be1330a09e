from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.errors import UserError
from pipeline.corpora import folder, manifest, synthetic
from tests.conftest import ROOT, recorded, tone

RECIPES = ROOT / "pipeline" / "corpora" / "recipes"


def test_recipes_share_no_voice_and_no_sentence_and_speak_ten_languages() -> None:
    train, test = (synthetic.load_recipe(RECIPES / f"{name}.yaml") for name in ("train", "test"))
    assert not set(train.voices) & set(test.voices)
    said = [
        {text for texts in recipe.speech.values() for text in texts} for recipe in (train, test)
    ]
    assert not said[0] & said[1]
    for recipe in (train, test):
        assert len({language.partition("-")[0] for language in recipe.speech}) >= 10
        assert len(recipe.voices) >= 10


def test_the_same_seed_makes_the_same_samples_and_another_seed_others() -> None:
    first, again, other = (
        list(synthetic.make(RECIPES / "test.yaml", seed, 28, 1.0)) for seed in (0, 0, 1)
    )
    for (clip, wave), (clip_again, wave_again) in zip(first, again, strict=True):
        assert clip == clip_again
        assert np.array_equal(wave, wave_again)
    assert any(
        wave.shape != wave_other.shape or not np.array_equal(wave, wave_other)
        for (_, wave), (_, wave_other) in zip(first, other, strict=True)
    )
    kinds = [clip.kind for clip, _ in first]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "speech": 14,
        "music": 7,
        "general": 7,
    }
    for clip, wave in first:
        assert wave.dtype == np.float32
        assert wave.shape[0] == clip.channels == 1
        assert 0.2 < np.abs(wave).max() <= 10 ** (-1 / 20) + 1e-6
        assert clip.seconds == pytest.approx(1.0, abs=0.01)
        assert np.std(wave) > 1e-3


def test_a_broken_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\nvoices: []\n")
    with pytest.raises(UserError, match=r"r\.yaml: not a recipe"):
        synthetic.load_recipe(tmp_path / "r.yaml")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder of audio in several formats, two of its files of no use."""
    for name, rate, channels in [
        ("speech/anna.wav", 16_000, 1),
        ("speech/deep/bert.flac", 44_100, 2),
        ("my music/song.ogg", 48_000, 2),
        ("street.mp3", 22_050, 1),
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(0.3, rate, channels=channels).T, rate)
    (tmp_path / "speech" / "empty.wav").touch()
    (tmp_path / "speech" / "broken.flac").write_text("no")
    (tmp_path / "readme.txt").write_text("not audio")
    return tmp_path


def test_a_folder_gives_kinds_by_its_names_and_lists_what_it_cannot_use(library: Path) -> None:
    found = folder.entries(library)
    assert {entry.file: entry.kind for entry in found} == {
        "my music__song.flac": "music",
        "speech__anna.flac": "speech",
        "speech__broken.flac": "speech",
        "speech__deep__bert.flac": "speech",
        "speech__empty.flac": "speech",
        "street.flac": "general",
    }
    clip, wave = folder.load(found[3], mono=True, longest=0.2)
    assert (clip.sample_rate, clip.channels, clip.seconds) == (44_100, 1, pytest.approx(0.2))
    assert wave.shape == (1, 8_820)
    clip, wave = folder.load(found[3], mono=False, longest=0)
    assert wave.shape == (2, 13_230)


def test_a_manifest_gives_kind_source_and_licence(library: Path) -> None:
    (library / "manifest.csv").write_text(
        "file,kind,speaker,licence\nspeech/anna.wav,speech,anna,CC0\nstreet.mp3,general,,CC-BY\n"
    )
    found = folder.entries(library)
    assert [(entry.file, entry.source, entry.licence) for entry in found] == [
        ("speech__anna.flac", "anna", "CC0"),
        ("street.flac", "street.mp3", "CC-BY"),
    ]
    assert folder.entries(library / "manifest.csv") == found
    (library / "manifest.csv").write_text("file,kind\nspeech/anna.wav,noise\n")
    with pytest.raises(UserError, match="kind 'noise'"):
        folder.entries(library)
    (library / "manifest.csv").write_text("path\nspeech/anna.wav\n")
    with pytest.raises(UserError, match="no column `file`"):
        folder.entries(library)


def test_a_folder_without_audio_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no audio files"):
        folder.entries(tmp_path)
    with pytest.raises(UserError, match="neither a folder nor a manifest"):
        folder.entries(tmp_path / "absent")


def test_both_corpora_write_the_same_columns(tmp_path: Path) -> None:
    made = [clip for clip, _ in synthetic.make(RECIPES / "test.yaml", 0, 4, 1.0)]
    manifest.write(tmp_path, made)
    assert manifest.read(tmp_path) == sorted(made, key=lambda clip: clip.file)
    header = (tmp_path / "manifest.csv").read_text().splitlines()[0]
    assert header.split(",") == list(manifest.Clip.model_fields)


def test_validation_keeps_sources_whole_and_takes_some_of_each_kind() -> None:
    clips = [("speech", f"s{index % 30}") for index in range(90)]
    clips += [("music", f"m{index}") for index in range(10)] + [("general", "only one")]
    chosen = folder.validation_sources(clips, 0.1, seed=0)
    assert len([name for name in chosen if name.startswith("s")]) == 3
    assert len([name for name in chosen if name.startswith("m")]) == 1
    assert "only one" not in chosen
    assert chosen == folder.validation_sources(clips[::-1], 0.1, seed=0)
    assert chosen != folder.validation_sources(clips, 0.1, seed=1)


def test_the_recordings_manifest_is_understood() -> None:
    found = folder.entries(recorded("audio/test"))
    assert len(found) == 52
    assert {entry.kind for entry in found} == set(manifest.KINDS)
    assert len({entry.source for entry in found}) < 52
