"""The stage `work NAME SECONDS TABLE DEP...`: write slowly what the deps determine.

A folder out/NAME, by a pool of processes where the name says so, and the single file TABLE.
"""

import hashlib
import time
from pathlib import Path

from codec.files import replacing, write_text
from codec.process import pool
from pipeline.stage import enter

PARTS = 6


def part(out: Path, text: str, seconds: float) -> None:
    with replacing(out) as scratch, scratch.open("w") as file:
        for line in range(200):
            file.write(f"{line} {text}\n")
            file.flush()
            time.sleep(seconds / 200)


def main(name: str, seconds: str, table: str, *deps: str) -> None:
    out = Path("out") / name
    sha = hashlib.sha256(name.encode())
    for dep in deps:
        for path in sorted(p for p in [Path(dep), *Path(dep).rglob("*")] if p.is_file()):
            if ".part" not in path.name:
                sha.update(path.name.encode() + path.read_bytes())
    each = float(seconds) / PARTS
    if "pool" in name:
        with pool(2) as workers:
            waits = [
                workers.submit(part, out / f"{n}.txt", f"{sha.hexdigest()} {n}", 2 * each)
                for n in range(PARTS)
            ]
            for wait in waits:
                wait.result()
    else:
        for n in range(PARTS):
            part(out / f"{n}.txt", f"{sha.hexdigest()} {n}", each)
    write_text(table, sha.hexdigest() + "\n")


if __name__ == "__main__":
    enter(main)
