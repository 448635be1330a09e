"""The training loop: encoder, prior and decoder jointly on one loss, read from top to bottom."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from codec.model import AudioCodec
from codec.nn.network import TrainingOutput
from pipeline.params import Optimizer
from pipeline.stage import log
from pipeline.training import resume
from pipeline.training.balancer import Balancer
from pipeline.training.data import Segments
from pipeline.training.objective import Adversary, Objective
from pipeline.training.watch import Watcher

LOG_EVERY = 25
FINAL_LEARNING_RATE = 0.05
VALIDATION_SEGMENTS = 32


@dataclass
class Plan:
    """What is trained, on what, for how long."""

    codec: AudioCodec
    objective: Objective
    adversary: Adversary | None
    balanced: bool
    settings: Optimizer
    steps: int
    training: Segments
    validation: Segments
    folder: Path
    """Where the state is kept while training runs."""
    fingerprint: str
    """A state of another fingerprint is of another training, and left alone."""
    watcher: Watcher = field(default_factory=Watcher)
    validations: int = 8
    """How often, evenly spread, the averaged codec is validated."""


def train(plan: Plan, fabric: Fabric) -> "Result":
    """Train to the end, from the state in ``plan.folder`` where there is one.

    The curve has one row per 25 steps with the means since the last row (``split`` train), and
    some rows of ``split`` valid, of the averaged codec and always on the same segments.
    """
    settings, objective = plan.settings, plan.objective
    # What the processes do together is one batch: each takes its part of the same draw.
    size = settings.batch_size * fabric.world_size
    first = settings.batch_size * fabric.global_rank
    part = slice(first, first + settings.batch_size)
    codec, optimizer = fabric.setup(plan.codec, _optimizer(plan.codec, settings))
    objective = objective.to(fabric.device)
    average = AveragedModel(plan.codec, use_buffers=True)
    averaged = cast(AudioCodec, average.module)
    balancer = Balancer(
        dict(objective.weights),
        plan.balanced,
        over_processes=lambda norm: cast(Tensor, fabric.all_reduce(norm)),
    )
    adversary = plan.adversary
    if adversary is not None:
        balancer.weights |= adversary.weights
        adversary.network, adversary.optimizer = fabric.setup(
            adversary.network, adversary.optimizer
        )
    watcher = plan.watcher if fabric.is_global_zero else Watcher()
    held_out = plan.validation.batch(VALIDATION_SEGMENTS).to(fabric.device)
    every = plan.steps / max(1, plan.validations)
    validate_at = {round(every * number) for number in range(1, plan.validations + 1)}

    run = _Run(codec, optimizer, average, adversary, balancer, plan.training)
    # The first process keeps the state; on another machine there is no such file.
    kept = (
        resume.load(plan.folder / resume.STATE, plan.fingerprint) if fabric.is_global_zero else None
    )
    state = fabric.broadcast(kept)
    if state is not None:
        run.restore(state)
        fabric.print(f"going on after step {run.step} of {plan.steps}")
    watcher.begin(run.rows)
    clock = reported = saved = time.monotonic()
    reported_step = run.step

    def drawn() -> str:
        return ", ".join(plan.training.drawn())

    # On the CPU a number is at hand at once, and a bad one is found before it does harm.
    look_every = 1 if fabric.device.type == "cpu" else LOG_EVERY
    codec.train()
    for step in range(run.step + 1, plan.steps + 1):
        run.step = step
        rate = schedule(step, plan.steps, settings.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        batch = plan.training.batch(size, part=part).to(fabric.device)
        levels = plan.training.rng.integers(plan.codec.config.levels, size=size)
        level = torch.from_numpy(levels[part]).to(fabric.device)

        # The codec. Distances are taken at a copy of the decoded waveform that begins a graph of
        # its own: their gradients meet there, are balanced, and go on through the codec as one.
        out = codec(batch, level)
        heard = out.waveform.detach().float().requires_grad_()
        distances = objective.distances(batch, heard, objective.spectral.draw(plan.training.rng))
        row = objective.summary(distances, out)

        if adversary is not None:
            judges = adversary.draw(plan.training.rng)
            lesson = adversary.lesson(batch, heard, judges)
            adversary.optimizer.zero_grad(set_to_none=True)
            fabric.backward(lesson)
            adversary.optimizer.step()
            with fabric.autocast():
                opinion = adversary.opinion(batch, heard, judges)
            distances |= opinion
            row |= {name: value.detach() for name, value in opinion.items()}
            row |= {"discriminator": lesson.detach()}

        gradient, shares = balancer.gradient(distances, heard)
        at_output = (out.waveform * gradient).sum()
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(at_output + objective.rest(out))
        norm = cast(
            Tensor,
            fabric.clip_gradients(
                codec, optimizer, max_norm=settings.gradient_clip, error_if_nonfinite=False
            ),
        )
        row |= {f"share_{name}": share for name, share in shares.items()}
        run.recent.append(
            {name: value.detach() for name, value in row.items()} | {"gradient": norm}
        )
        if step % look_every == 0 or step == plan.steps:
            # Here alone a GPU is waited for.
            run.check(fabric.device, drawn)
        optimizer.step()
        update(average, plan.codec, settings.average)
        if step % LOG_EVERY == 0 or step == plan.steps:
            watcher.row(run.keep("train", run.means()))
        if step in validate_at:
            found = validate(averaged, objective, held_out)
            watcher.row(run.keep("valid", found))
            best = found["total"] < run.best
            run.best = min(run.best, found["total"])
            watcher.validated(step, averaged, best)
            seconds = (step - reported_step) * size * settings.segment_seconds
            speed = seconds / (time.monotonic() - reported)
            log.info("step %d of %d: %s, %.0f s of audio per s",
                     step, plan.steps, _say(found), speed)  # fmt: skip
            reported, reported_step = time.monotonic(), step
        run.seconds, clock = run.seconds + time.monotonic() - clock, time.monotonic()
        if clock - saved > settings.save_seconds:
            run.check(fabric.device, drawn)
            if fabric.is_global_zero:
                resume.save(plan.folder / resume.STATE, run.state(plan.fingerprint))
            saved = clock

    return Result(averaged.cpu(), pd.DataFrame(run.rows), run.seconds)


@dataclass
class Result:
    """What training gives."""

    codec: AudioCodec
    """With the moving average of the weights."""
    curve: pd.DataFrame
    seconds: float
    """That training took, without what a kill threw away."""


class _Run:
    """All that changes while training, so that all of it is saved and restored."""

    def __init__(
        self,
        codec: nn.Module,
        optimizer: Any,
        average: AveragedModel,
        adversary: Adversary | None,
        balancer: Balancer,
        training: Segments,
    ) -> None:
        self.parts: dict[str, Any] = {"codec": codec, "optimizer": optimizer, "average": average}
        if adversary is not None:
            self.parts |= {
                "discriminator": adversary.network,
                "discriminator_optimizer": adversary.optimizer,
            }
        self.balancer = balancer
        self.training = training
        self.step = 0
        self.best = math.inf
        self.seconds = 0.0
        self.rows: list[dict[str, object]] = []
        self.recent: list[dict[str, Tensor]] = []
        """What is known of each step since the last row of the curve; some know less."""

    def check(self, device: torch.device, drawn: Callable[[], str]) -> None:
        """Raise RuntimeError where a number of the last steps is not finite."""
        if not self.recent:
            return
        seen = [value.to(device) for one in self.recent for value in one.values()]
        if torch.isfinite(torch.stack(seen)).all():
            return
        found = {name: float(value) for one in self.recent for name, value in one.items()}
        raise RuntimeError(f"step {self.step}: not finite: {found}; batch: {drawn()}")

    def means(self) -> dict[str, float]:
        """Means of the steps since the last call."""
        recent, self.recent = self.recent, []
        names = dict.fromkeys(name for one in recent for name in one)
        return {
            name: float(
                torch.stack([one[name].float().cpu() for one in recent if name in one]).mean()
            )
            for name in names
        }

    def keep(self, split: str, values: dict[str, float]) -> dict[str, object]:
        """Add a row to the curve, and give it back."""
        row: dict[str, object] = {"step": self.step, "split": split, **values}
        self.rows.append(row)
        return row

    def state(self, fingerprint: str) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "fingerprint": fingerprint,
            "step": self.step,
            "best": self.best,
            "seconds": self.seconds,
            "rows": self.rows,
            "recent": self.recent,
            "norms": self.balancer.norms,
            "counts": self.balancer.counts,
            "measured": self.balancer.steps,
            "data": self.training.rng.bit_generator.state,
            "random": torch.get_rng_state(),
            "random_cuda": cuda,
            **{name: part.state_dict() for name, part in self.parts.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.step, self.best, self.seconds = state["step"], state["best"], state["seconds"]
        self.rows, self.recent = state["rows"], state["recent"]
        device = next(self.parts["codec"].parameters()).device
        self.balancer.norms = {name: norm.to(device) for name, norm in state["norms"].items()}
        self.balancer.counts, self.balancer.steps = state["counts"], state["measured"]
        self.training.rng.bit_generator.state = state["data"]
        torch.set_rng_state(state["random"])
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])


def _optimizer(codec: AudioCodec, settings: Optimizer) -> torch.optim.Optimizer:
    """AdamW; the prior's few scalars learn faster, and without decay.

    Of a codec with a perceptual decoder that one alone learns.
    """
    if codec.perceptual is not None:
        parameters = list(codec.perceptual.parameters())
        groups = [{"params": parameters, "peak": settings.learning_rate, "weight_decay": 0.01}]
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.8, 0.99), fused=True)
    networks = [*codec.encoder.parameters(), *codec.decoder.parameters()]
    groups = [
        {"params": networks, "peak": settings.learning_rate, "weight_decay": 0.01},
        {
            "params": list(codec.prior.parameters()),
            "peak": settings.prior_learning_rate,
            "weight_decay": 0.0,
        },
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)


@torch.no_grad()
def update(average: AveragedModel, codec: nn.Module, decay: float) -> None:
    """Move the average on, by one call for all weights.

    Its memory grows to 1 / (1 - decay) steps, but not beyond the past.
    """
    past = int(average.n_averaged)
    old, new = ([*one.parameters(), *one.buffers()] for one in (average.module, codec))
    floats = [i for i, value in enumerate(old) if value.is_floating_point()]
    share = 1 - min(decay, (1 + past) / (10 + past)) if past else 1.0
    torch._foreach_lerp_([old[i] for i in floats], [new[i] for i in floats], share)
    for i in set(range(len(old))) - set(floats):
        old[i].copy_(new[i])
    average.n_averaged += 1


@torch.no_grad()
def validate(codec: AudioCodec, objective: Objective, held_out: Tensor) -> dict[str, float]:
    """Mean losses on segments that training never sees, and the kbps of their real bits."""
    codec.eval()
    with torch.random.fork_rng(devices=[held_out.device] if held_out.is_cuda else []):
        torch.manual_seed(0)
        rows = []
        # Levels as if evenly spread, whatever their number.
        levels = torch.arange(len(held_out)) * codec.config.levels // len(held_out)
        for batch, level in zip(held_out.split(8), levels.split(8), strict=True):
            out = codec(batch, level.to(batch.device))
            rows.append(objective.summary(objective.distances(batch, out.waveform), out))
            rows[-1]["coded_kbps"] = coded_kbps(codec, out)
    return {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0]}


@torch.no_grad()
def coded_kbps(codec: AudioCodec, out: TrainingOutput) -> Tensor:
    """kbps of the rounded symbols, as the prior expects them, or frozen tables where there are."""
    seconds = out.symbols.shape[0] * out.symbols.shape[-1] / codec.config.frame_rate
    if codec.tables is None:
        return codec.prior.bits(out.symbols, out.symbols, out.level).sum() / seconds / 1000
    symbols = out.symbols.cpu().numpy()
    bits = [
        codec.bits(one[None], int(level)).sum()
        for one, level in zip(symbols, out.level, strict=True)
    ]
    return torch.tensor(np.sum(bits) / seconds / 1000)


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate: linear warm-up to 1, then half a cosine to a twentieth."""
    if step <= warmup:
        return step / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def _say(row: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {value:.3g}"
        for name, value in row.items()
        if name not in ("commitment", "gradient")
    )
