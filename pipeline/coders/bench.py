"""Every coder on every test clip: files, decoded audio, and a table of bytes."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codec import audio
from codec.errors import UserError
from codec.files import write_bytes, write_text
from pipeline import layout
from pipeline.coders import Coder, Timeline
from pipeline.corpora import manifest
from pipeline.metrics.bandwidth import bandwidth_khz
from pipeline.metrics.delay import delay_ms
from pipeline.results import tables
from pipeline.stage import progress

TIMELINE_SECONDS = 0.1


def code_clips(point: str, coder: Coder, split: Path) -> None:
    """Write coded/<point>/, decoded/<point>/ and coded/<point>.csv, one row per clip.

    The decoder gets the file's bytes and nothing else; a coder that shifts the audio shows in
    delay_ms, and in its scores. Columns: clip, kind, source, seconds, pcm_bytes, file_bytes,
    payload_bytes, estimated_bits (empty where the coder has no estimate), delay_ms (empty where it
    cannot be told), bandwidth_khz (empty for silence), the fields of ``Cost``, timeline (JSON:
    payload bits of every ``TIMELINE_SECONDS``; empty where the coder cannot tell), details and
    about (JSON).
    """
    clips = manifest.read(split)
    _emptied(point)
    about = json.dumps(coder.about(), sort_keys=True)
    rows = []
    for clip in progress(clips, len(clips), point):
        waveform, rate = audio.read(split / clip.file)
        path = layout.coded_file(point, clip.name, coder.suffix)
        write_bytes(path, coder.encode(waveform, rate))
        data = path.read_bytes()
        decoded = decode(coder, data, rate, waveform.shape[-1])
        if not np.isfinite(decoded).all():
            raise UserError(
                f"{point}: of {clip.file} its coder decodes samples that are no numbers"
            )
        audio.write(layout.decoded_file(point, clip.name), decoded, rate)
        rows.append(
            {
                "clip": clip.name,
                "kind": clip.kind,
                "source": clip.source,
                "seconds": waveform.shape[-1] / rate,
                "pcm_bytes": 2 * waveform.size,
                "file_bytes": len(data),
                "payload_bytes": coder.payload_bytes(data),
                "estimated_bits": coder.estimated_bits(data),
                "delay_ms": delay_ms(reference=waveform, degraded=decoded, sample_rate=rate),
                "bandwidth_khz": bandwidth_khz(
                    reference=waveform, degraded=decoded, sample_rate=rate
                ),
                **dataclasses.asdict(coder.cost(waveform.shape[0])),
                "timeline": binned(coder.timeline(data), waveform.shape[-1] / rate),
                "details": json.dumps(coder.details(data), sort_keys=True),
                "about": about,
            }
        )
    tables.write(layout.files_table(point), pd.DataFrame(rows), "%.6f")


def skip(point: str, reason: str) -> None:
    """Leave a note of why a point was not coded in place of its files, and a table without rows."""
    _emptied(point)
    for folder in (layout.CODED, layout.DECODED):
        write_text(layout.skip_note(folder, point), reason + "\n")
    tables.write(layout.files_table(point), pd.DataFrame(columns=["clip"]))


def _emptied(point: str) -> None:
    """The point's folders without what an earlier run left there."""
    for folder in (layout.CODED / point, layout.DECODED / point):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)


def decode(coder: Coder, data: bytes, rate: int, length: int) -> NDArray[np.float32]:
    """(channels, ``length``) at ``rate`` of a whole file; nothing else is done to what it holds."""
    decoded, decoded_rate = coder.decode(data)
    return audio.fit_length(audio.resample(decoded, decoded_rate, rate), length)


def binned(timeline: Timeline | None, seconds: float) -> str:
    """JSON of the bits of every ``TIMELINE_SECONDS`` of ``seconds`` of audio; empty for None.

    What begins before the audio or after its end, as the frames that carry a coder's delay,
    counts in the first or the last of them.
    """
    if timeline is None:
        return ""
    starts, bits = timeline
    count = max(1, int(np.ceil(seconds / TIMELINE_SECONDS - 1e-9)))
    places = np.clip(np.floor(starts / TIMELINE_SECONDS + 1e-9).astype(int), 0, count - 1)
    return json.dumps(np.round(np.bincount(places, bits, count)).astype(int).tolist())
