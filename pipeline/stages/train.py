"""train: `base`, or one model of params.yaml from it.

Writes into models/<model>/ the moving average of the weights at the last step (last.safetensors)
and at the lowest validation loss (best.safetensors), the curve (training.csv), what was trained for
how long (training.json), DVCLive's record (live/), and clips to listen to (clips/).

Killed, it goes on from checkpoints/<model>. On several devices or machines:
`torchrun --nproc-per-node 4 -m pipeline.stages.train MODEL`.
"""

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from codec import audio, checkpoint
from codec.coding.chunks import grouped
from codec.config import CodecConfig
from codec.errors import UserError
from codec.files import replacing, write_text
from codec.model import PERCEPTUAL, AudioCodec, weights_hash
from pipeline import layout, params
from pipeline.corpora import manifest
from pipeline.layout import TRAIN, VALID
from pipeline.params import BASE, Adversarial, Model, Optimizer, Pretrain, Watch
from pipeline.results import tables
from pipeline.stage import cores, enter, log
from pipeline.training import loop, resume, watch
from pipeline.training.data import Segments, recordings
from pipeline.training.objective import Adversary, Objective

SCRATCH = "scratch"


def main(name: str) -> None:
    settings = params.load()
    fabric = processes(settings.optimizer)
    torch.set_num_threads(settings.optimizer.threads or cores())
    torch.manual_seed(settings.seed)
    model: Pretrain | Model
    if name == BASE:
        model, steps, loss = settings.pretrain, settings.pretrain.steps, settings.loss
        config, adversarial = settings.codec.config(), settings.adversarial
    else:
        model, steps, loss = settings.models[name], settings.train.steps, settings.loss_of(name)
        config, adversarial = settings.config_of(name), settings.adversarial_of(name)
    codec = started(config, model.init, layout.weights(BASE, settings.optimizer.keep))
    # Whole frames, so that the decoded segment is as long as the segment.
    frames = round(settings.optimizer.segment_seconds * config.frame_rate)
    size = (config.sample_rate, config.channels, frames * config.hop)
    weights = sum(parameter.numel() for parameter in codec.parameters())
    log.info(
        "%s: from %s, beta %s, %d steps, %.2f million parameters, on %s",
        name, model.init, model.beta, steps, weights / 1e6, device_name(fabric),
    )  # fmt: skip
    folder, target = layout.CHECKPOINTS / name, layout.MODELS / name
    at = [round(part * steps) for part in settings.watch.at]
    with resume.locked(folder, fabric.is_global_zero):
        plan = loop.Plan(
            codec=codec,
            objective=Objective(loss, model.beta, config.sample_rate, config.levels),
            adversary=adversary(adversarial, config.sample_rate),
            balanced=loss.balanced,
            settings=settings.optimizer,
            steps=steps,
            training=Segments(
                recordings(TRAIN, *size[:2]), *size, [settings.seed, *name.encode()],
                settings.augment, fabric.device,
            ),
            validation=Segments(recordings(VALID, *size[:2]), *size, [settings.seed]),
            folder=folder,
            fingerprint=resume.fingerprint(
                name, model.beta, steps, settings.seed, config.model_dump(), loss.model_dump(),
                adversarial.model_dump(), settings.augment.model_dump(),
                settings.optimizer.model_dump(), fabric.world_size,
                weights_hash(config, codec.state_dict()).hex(),
                data=[TRAIN / manifest.FILE_NAME, VALID / manifest.FILE_NAME],
            ),
            watcher=watch.Record(
                folder, originals(VALID, config, settings.watch), at, config.sample_rate
            ),
        )  # fmt: skip
        result = loop.train(plan, fabric)
        if not fabric.is_global_zero:
            return
        tables.write(layout.model_table(name, "training"), result.curve, "%.6g")
        samples = settings.optimizer.batch_size * fabric.world_size * size[2]
        facts = {
            "init": model.init,
            "beta": model.beta,
            "steps": steps,
            "parameters": weights,
            "audio_hours": round(steps * samples / config.sample_rate / 3600, 3),
            "device": device_name(fabric),
            "processes": fabric.world_size,
            "precision": settings.optimizer.precision,
            "hours": round(result.seconds / 3600, 4),
            "torch": version("torch"),
        }
        write_text(layout.training_facts(name), json.dumps(facts, indent=1) + "\n")
        checkpoint.save(result.codec, layout.weights(name, "last"))
        with replacing(layout.weights(name, "best")) as scratch:
            shutil.copyfile(folder / watch.BEST, scratch)
        for part in (watch.LIVE, watch.CLIPS):
            shutil.rmtree(target / part, ignore_errors=True)
            shutil.move(folder / part, target / part)
        shutil.rmtree(folder)


def processes(settings: Optimizer) -> Fabric:
    """One process on one device, or those that torchrun started."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=settings.precision,
    )
    fabric.launch()
    return fabric


def device_name(fabric: Fabric) -> str:
    """The GPU's name, or how many processors there are."""
    if fabric.device.type == "cuda":
        return torch.cuda.get_device_name(fabric.device)
    return f"{torch.get_num_threads()} CPU cores"


def adversary(settings: Adversarial, sample_rate: int) -> Adversary | None:
    """The discriminators that params ask for."""
    if not settings.enabled:
        return None
    weights = {"adversarial": settings.weight, "features": settings.features}
    return Adversary.build(sample_rate, settings.width, settings.learning_rate, weights)


def started(config: CodecConfig, init: str, base: Path) -> AudioCodec:
    """A codec to train: new (``scratch``), or with the weights of a model.

    That model is the one of the file ``base``, a released one, or one of a path. With another
    quantizer it gives encoder and decoder, and quantizer and prior are new; with another entropy
    model it gives all but the prior. Of a codec with a perceptual decoder that one alone trains;
    where the model has none like it, it starts from the first decoder.
    """
    codec = AudioCodec(config)
    if init == SCRATCH:
        return codec
    path = base if init == BASE else checkpoint.find(init)
    found = checkpoint.load(path)
    fields: dict[str, Any] = found.config.model_dump()
    wanted: dict[str, Any] = config.model_dump()
    quantizer = {"quantizer", "codebooks", "codebook_size"}
    if without_perceptual(found.config) == without_perceptual(config):
        same = found.config.perceptual_noise == config.perceptual_noise
        weights = found.state_dict()
        codec.load_state_dict(
            {name: w for name, w in weights.items() if same or not name.startswith(PERCEPTUAL)},
            strict=same,
        )
        if codec.perceptual is not None:
            if not same:
                codec.perceptual.decoder.load_state_dict(found.decoder.state_dict())
            codec.requires_grad_(False)
            codec.perceptual.requires_grad_(True)
            codec.tables, codec.model_hash = found.tables, found.model_hash
        return codec
    for key in sorted(fields.keys() - quantizer - {"entropy"}):
        if fields[key] != wanted[key]:
            raise UserError(
                f"{params.FILE}: init {init}: {path} has {key} {fields[key]}, and codec in "
                f"{params.FILE} {wanted[key]}; make them the same, or start from {SCRATCH}"
            )
    codec.encoder.load_state_dict(found.encoder.state_dict())
    codec.decoder.load_state_dict(found.decoder.state_dict())
    if all(fields[key] == wanted[key] for key in quantizer):
        codec.quantizer.load_state_dict(found.quantizer.state_dict())
    return codec


def without_perceptual(config: CodecConfig) -> CodecConfig:
    """The same without a perceptual decoder."""
    return config.model_copy(update={"perceptual_noise": 0})


def originals(split: Path, config: CodecConfig, settings: Watch) -> dict[str, torch.Tensor]:
    """(channels, samples) of the first clips of each kind in turn, cut to whole frames."""
    clips = manifest.read(split)
    kinds = [[clip for clip in clips if clip.kind == kind] for kind in manifest.KINDS]
    turns = [kind[turn] for turn in range(settings.clips) for kind in kinds if turn < len(kind)]
    found = {}
    for clip in turns[: settings.clips]:
        waveform, rate = audio.read(split / clip.file)
        resampled = torch.from_numpy(audio.resample(waveform, rate, config.sample_rate))
        frames = min(round(settings.seconds * config.frame_rate), resampled.shape[-1] // config.hop)
        if frames:
            found[clip.name] = grouped(resampled, config.channels)[0, :, : frames * config.hop]
    return found


if __name__ == "__main__":
    enter(main)
