"""train: `base` from scratch, or one model of params.yaml from the base.

Writes models/<model>/trained.safetensors and the curve in models/<model>/training.csv.
"""

from pathlib import Path

import torch

from codec import checkpoint
from codec.config import CodecConfig
from codec.model import AudioCodec
from pipeline import params
from pipeline.stage import cores, log, run
from pipeline.stages.prepare import TRAIN, VALID
from pipeline.training import loop
from pipeline.training.data import Segments

MODELS = Path("models")
BASE = "base"
TRAINED = "trained.safetensors"


def main(name: str) -> None:
    settings = params.load()
    torch.set_num_threads(settings.optimizer.threads or cores())
    torch.manual_seed(settings.seed)
    loss = settings.loss
    if name == BASE:
        codec = AudioCodec(settings.codec.config())
        beta, steps = settings.pretrain.beta, settings.pretrain.steps
    else:
        model = settings.models[name]
        codec = from_base(settings.config_of(name))
        beta, steps = model.beta, settings.train.steps
        if model.gamma is not None:
            loss = loss.model_copy(update={"gamma": model.gamma})
    rate, channels = codec.config.sample_rate, codec.config.channels
    # Whole frames, so that the decoded segment is as long as the segment.
    frames = round(settings.optimizer.segment_seconds * codec.config.frame_rate)
    size = frames * codec.config.hop
    weights = sum(parameter.numel() for parameter in codec.parameters())
    log.info("%s: beta %g, %d steps, %.2f million parameters", name, beta, steps, weights / 1e6)
    curve = loop.train(
        codec,
        loop.Objective(loss, beta),
        settings.optimizer,
        steps,
        Segments(TRAIN, rate, channels, size, [settings.seed, *name.encode()]),
        Segments(VALID, rate, channels, size, [settings.seed]),
    )
    loop.write_curve(curve, MODELS / name / "training.csv")
    checkpoint.save(codec, MODELS / name / TRAINED)


def from_base(config: CodecConfig) -> AudioCodec:
    """The trained base; with another quantizer, its encoder and decoder and a new prior."""
    base = checkpoint.load(MODELS / BASE / TRAINED)
    if config == base.config:
        return base
    codec = AudioCodec(config)
    codec.encoder.load_state_dict(base.encoder.state_dict())
    codec.decoder.load_state_dict(base.decoder.state_dict())
    return codec


if __name__ == "__main__":
    run(main)
