"""What a training shows while it runs: DVCLive's metrics and plots, and clips to listen to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec import audio, checkpoint
from codec.model import AudioCodec
from pipeline.stage import log

LIVE, CLIPS, BEST = "live", "clips", "best.safetensors"


class Watcher:
    """Told of everything that a training finds out; this one does nothing with it."""

    def begin(self, rows: list[dict[str, object]]) -> None:
        """Training begins, or goes on after these rows of the curve."""

    def row(self, row: Mapping[str, object]) -> None:
        """One more row of the curve."""

    def validated(self, step: int, codec: AudioCodec, best: bool) -> None:
        """The averaged codec after a validation; ``best`` where its loss is the lowest so far."""


class Record(Watcher):
    """Writes into ``folder``: ``live`` (DVCLive), ``clips`` (FLAC), and the best weights.

    ``originals`` are (channels, samples) waveforms of the codec's rate by name; their decoded
    forms are kept from the first validation at or after each step of ``listen_at``.
    """

    def __init__(
        self, folder: Path, originals: dict[str, Tensor], listen_at: list[int], sample_rate: int
    ) -> None:
        self.folder, self.originals, self.sample_rate = folder, originals, sample_rate
        self.listen_at = sorted(listen_at)
        self.live: Any = None

    def begin(self, rows: list[dict[str, object]]) -> None:
        # Loaded where it is needed: training itself does without.
        from dvclive.live import Live

        # A new record, told everything again: one that a kill had cut might hold rows of steps
        # that will be done again.
        self.live = Live(
            str(self.folder / LIVE), dvcyaml=None, save_dvc_exp=False, monitor_system=False
        )
        (self.folder / CLIPS).mkdir(parents=True, exist_ok=True)  # an out, of no clips too
        for name, waveform in self.originals.items():
            self._write(f"{name}-original", waveform)
        for row in rows:
            self.row(row)
        done = max((int(str(row["step"])) for row in rows if row["split"] == "valid"), default=0)
        self.listen_at = [at for at in self.listen_at if at > done]

    def row(self, row: Mapping[str, object]) -> None:
        assert self.live is not None
        self.live.step = int(str(row["step"]))
        for name, value in row.items():
            if isinstance(value, float):
                self.live.log_metric(f"{row['split']}/{name}", value)
        self.live.make_summary()

    @torch.no_grad()
    def validated(self, step: int, codec: AudioCodec, best: bool) -> None:
        if best:
            checkpoint.save(codec, self.folder / BEST)
        if not self.listen_at or step < self.listen_at[0]:
            return
        self.listen_at = [at for at in self.listen_at if at > step]
        device = next(codec.parameters()).device
        for name, waveform in self.originals.items():
            out = codec(waveform[None].to(device))
            # As a file would decode: with gains of bands, which training leaves out where it is of
            # the codec as a whole.
            decoded = out.waveform if codec.perceptual else codec.decoder(out.codes, out.level)
            decoded = decoded[0]
            self._write(f"{name}-step-{step:06d}", decoded)
        log.info("step %d: clips to listen to in %s", step, self.folder / CLIPS)

    def _write(self, name: str, waveform: Tensor) -> None:
        path = self.folder / CLIPS / f"{name}.flac"
        audio.write(path, waveform.float().cpu().numpy(), self.sample_rate)
