"""Names of outputs: legal, short enough, and no two alike."""

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

_SCRATCH = len("..part")  # what codec/files.py puts around a name while it writes
LONGEST = 255 - _SCRATCH
"""Bytes that the name of a file may have."""
LONGEST_FLAT = 200
"""Bytes of a flat name, to which coders and reports put endings of their own."""
_ILLEGAL = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\ud800-\udfff]|^\.")


def output_names(sources: Iterable[str], ending: str, flat: bool = False) -> dict[str, str]:
    """A name that ends in ``ending`` for each of the relative paths ``sources``, all different.

    Different also where upper and lower case, or two spellings of one letter, are the same to the
    file system. ``a/b.wav`` becomes ``a/b`` and ending; or ``a/b.wav`` and ending where two sources
    differ in nothing but their endings; or ``a/b~`` and part of a hash of the path where that is
    not enough, or too long. ``flat`` makes file names without folders, ``a__b`` and ending, of
    printable characters alone.

    The names depend on the set of sources, not on their order.
    """
    level = dict.fromkeys(sources, 0)
    names = {source: _name(source, 0, ending, flat) for source in level}
    while True:
        alike = defaultdict(list)
        for source, name in names.items():
            alike[_seen(name)].append(source)
        clashes = [group for group in alike.values() if len(group) > 1]
        if not clashes:
            return names
        for group in clashes:
            # A source that has its own name by right keeps it: only the plainest ones move on.
            plainest = min(level[source] for source in group)
            for source in group:
                if level[source] == plainest:
                    level[source] += 1
                    names[source] = _name(source, level[source], ending, flat)


def printable(name: str) -> str:
    """A name that the system gave, in characters that can be printed and written to tables."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _name(source: str, level: int, ending: str, flat: bool) -> str:
    """The candidate of a level: without the old ending, with it, with ever more of a hash."""
    path = PurePosixPath(source)
    if flat:
        path = PurePosixPath("__".join(part for part in path.parts if part != "/"))
    longest = (LONGEST_FLAT if flat else LONGEST) - len(ending)
    name = path.name if level else path.stem
    legal = _ILLEGAL.sub("_", name) if flat else name
    if level > 1 or legal != name or len(os.fsencode(name)) > longest:
        digits = 8 * max(1, level - 1)
        sign = "~" + hashlib.sha256(os.fsencode(source)).hexdigest()[:digits]
        stem = _ILLEGAL.sub("_", path.stem) if flat else path.stem
        legal = _cut(stem, longest - len(sign)) + sign
    return str(path.with_name(legal + ending))


def _cut(name: str, size: int) -> str:
    """The beginning of a name that takes at most ``size`` bytes, of whole characters."""
    while len(os.fsencode(name)) > size:
        name = name[:-1]
    return name


def _seen(name: str) -> str:
    """What a file system that knows no case makes of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
