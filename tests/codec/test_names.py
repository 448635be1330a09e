"""Names of outputs: whatever users call their files."""

import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.names import LONGEST, LONGEST_FLAT, output_names, printable

# Few different characters, so that names come close to one another; and hostile ones.
LETTERS = st.sampled_from([
    "a", "A", "ß", "ss", "é", "e\u0301", "_", "__", "~", ".", " ", "\n", "\udce9", "x" * 120,
    "日" * 60, ".wav", ".WAV", ".mp3", ".flac",
])  # fmt: skip
PART = st.lists(LETTERS, min_size=1, max_size=4).map("".join).filter(lambda n: n not in (".", ".."))
PATHS = st.lists(PART, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".wav")


def seen(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@given(sources=st.sets(PATHS, max_size=12), flat=st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_two_outputs_are_one_file(sources: set[str], flat: bool) -> None:
    names = output_names(sources, ".flac", flat)
    assert set(names) == sources
    assert len({seen(name) for name in names.values()}) == len(sources)
    for name in names.values():
        last = PurePosixPath(name).name
        assert last.endswith(".flac")
        assert len(last.encode("utf-8", "surrogateescape")) <= (LONGEST_FLAT if flat else LONGEST)
        if flat:
            assert "/" not in name
            assert name.encode("utf-8").decode("utf-8") == name
            assert not name.startswith(".")
            assert name.isprintable()
    assert names == output_names(sorted(sources, reverse=True), ".flac", flat)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["a.wav", "b/c.flac"], ["a.rdc", "b/c.rdc"]),
        (["a.wav", "a.flac"], ["a.wav.rdc", "a.flac.rdc"]),
        # The third one's plain name is what the first one moves on to.
        (["a.wav", "a.flac", "a.wav.mp3"], ["a.wav.rdc", "a.flac.rdc", "a.wav.mp3.rdc"]),
    ],
)
def test_names_stay_as_plain_as_they_can(sources: list[str], expected: list[str]) -> None:
    assert list(output_names(sources, ".rdc").values()) == expected


def test_case_alone_is_no_difference() -> None:
    upper, lower = output_names(["A.wav", "a.wav"], ".rdc").values()
    assert upper.lower() != lower.lower()


def test_what_is_not_utf_8_can_be_printed() -> None:
    assert printable("lat\udce9n.wav") == "lat\\xe9n.wav"
