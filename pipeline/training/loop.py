"""The training loop: encoder, prior and decoder jointly on one loss."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from codec.losses import MultiScaleSTFTLoss
from codec.model import AudioCodec
from codec.quantizer import commitment_loss
from pipeline.params import Loss, Optimizer
from pipeline.stage import log
from pipeline.training.data import Segments

LOG_EVERY = 25
VALIDATIONS = 8
FINAL_LEARNING_RATE = 0.05
VALIDATION_SEGMENTS = 32


@dataclass
class Losses:
    """The terms of L = L_recon + β·L_rate + γ·L_commit for one batch, each a scalar."""

    log_magnitude: Tensor
    phase: Tensor
    kbps: Tensor
    commitment: Tensor
    total: Tensor

    def row(self) -> dict[str, float]:
        return {name: float(value.detach()) for name, value in vars(self).items()}


class Objective:
    """The loss of a codec on a batch; β is per kbps, and so the same for any frame rate."""

    def __init__(self, loss: Loss, beta: float) -> None:
        self.stft = MultiScaleSTFTLoss(loss.stft_scales)
        self.loss = loss
        self.beta = beta

    def __call__(self, codec: AudioCodec, waveform: Tensor) -> Losses:
        out = codec(waveform)
        log_magnitude, phase = self.stft(waveform, out.waveform)
        commitment = commitment_loss(out.latent, out.codes)
        reconstruction = log_magnitude + self.loss.phase_weight * phase
        total = reconstruction + self.beta * out.kbps + self.loss.gamma * commitment
        return Losses(log_magnitude, phase, out.kbps, commitment, total)


def train(
    codec: AudioCodec,
    objective: Objective,
    settings: Optimizer,
    steps: int,
    training: Segments,
    validation: Segments,
) -> pd.DataFrame:
    """Train ``codec`` in place for ``steps``; return the curve.

    One row per 25 steps with the means of the losses since the last row (``split`` train), and
    some rows of ``split`` valid, always on the same segments.
    """
    prior = list(codec.prior.parameters())
    networks = [*codec.encoder.parameters(), *codec.decoder.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": networks, "peak": settings.learning_rate, "weight_decay": 0.01},
            {"params": prior, "peak": settings.prior_learning_rate, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(0.9, 0.95),
    )
    held_out = validation.batch(VALIDATION_SEGMENTS)
    validate_at = {round(steps * part / VALIDATIONS) for part in range(1, VALIDATIONS + 1)}
    rows: list[dict[str, object]] = []
    recent: list[dict[str, float]] = []
    started, reported = time.monotonic(), 0
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(step, steps, settings.warmup_steps)
        losses = objective(codec.train(), training.batch(settings.batch_size))
        if not torch.isfinite(losses.total):
            raise RuntimeError(f"step {step}: the loss is not finite: {losses.row()}")
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_([*networks, *prior], settings.gradient_clip)
        optimizer.step()
        recent.append(losses.row())
        if step % LOG_EVERY == 0 or step == steps:
            means = {name: float(np.mean([row[name] for row in recent])) for name in recent[0]}
            rows.append({"step": step, "split": "train", **means})
            recent.clear()
        if step in validate_at:
            rows.append({"step": step, "split": "valid", **validate(codec, objective, held_out)})
            elapsed = time.monotonic() - started
            heard = (step - reported) * settings.batch_size * settings.segment_seconds
            log.info(
                "step %d of %d: %s, %.0f s of audio per s",
                step,
                steps,
                _say(rows[-1]),
                heard / elapsed,
            )
            started, reported = time.monotonic(), step
    return pd.DataFrame(rows)


@torch.no_grad()
def validate(codec: AudioCodec, objective: Objective, held_out: Tensor) -> dict[str, float]:
    """Mean losses on segments that training never sees."""
    codec.eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        batches = [objective(codec, batch).row() for batch in held_out.split(8)]
    return {name: float(np.mean([row[name] for row in batches])) for name in batches[0]}


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate: linear warm-up to 1, then half a cosine to a twentieth."""
    if step <= warmup:
        return step / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def _say(row: dict[str, object]) -> str:
    return ", ".join(
        f"{name} {row[name]:.3g}" for name in ("total", "log_magnitude", "phase", "kbps")
    )


def write_curve(curve: pd.DataFrame, path: Path) -> None:
    """The curve as a table; columns without a value for a row stay empty."""
    from codec.files import write_text

    write_text(path, curve.to_csv(index=False, float_format="%.6g"))
