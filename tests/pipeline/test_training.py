"""Training of every architecture, and the segments that it gets."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric

from codec import audio, checkpoint
from codec.config import PRESETS, CodecConfig
from codec.errors import UserError
from codec.model import AudioCodec
from pipeline import layout, params
from pipeline.corpora import manifest
from pipeline.stages.train import originals, processes, started
from pipeline.training import loop, resume, watch
from pipeline.training.balancer import Balancer
from pipeline.training.data import Segments, recordings
from pipeline.training.objective import Adversary, Objective
from tests.conftest import RESIDUAL, ROOT, SPECTRAL, TRANSFORM, tone


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips: a mono one at 16 kHz and a stereo one, with an edge, at 48 kHz."""
    folder = tmp_path_factory.mktemp("split")
    clips = []
    for name, rate, channels in (("mono", 16_000, 1), ("stereo", 48_000, 2)):
        audio.write(folder / f"{name}.flac", tone(1.5, rate, channels=channels), rate)
        clips.append(
            manifest.Clip(
                file=f"{name}.flac", kind="music", source=name, language="", sample_rate=rate,
                channels=channels, seconds=1.5, licence="", origin="",
            )
        )  # fmt: skip
    manifest.write(folder, clips)
    return folder


def segments(
    split: Path, sample_rate: int, channels: int, samples: int, seed: int, **changes: float
) -> Segments:
    """Segments of the split, changed with these probabilities only."""
    augment = params.Augment(**{"mix": 0.0, "filter": 0.0, "resample": 0.0} | changes)
    found = recordings(split, sample_rate, channels)
    return Segments(found, sample_rate, channels, samples, [seed], augment)


def test_segments_have_the_codec_s_channels(split: Path) -> None:
    one = segments(split, 24_000, 1, 12_000, 0).batch(40, gain_db=(0, 0))
    assert one.shape == (40, 1, 12_000)
    # A clip of two channels, an octave apart, is two clips for a codec of one.
    peaks = {int(np.abs(np.fft.rfft(segment[0])).argmax()) * 2 for segment in one}
    assert peaks == {440, 880}
    two = segments(split, 24_000, 2, 12_000, 0).batch(40)
    assert two.shape == (40, 2, 12_000)
    # The mono clip in both channels, half of the time not at the same level; the stereo clip.
    pairs = list(zip(two[:, 0].numpy(), two[:, 1].numpy(), strict=True))
    alike = [(a, b) for a, b in pairs if abs(np.corrcoef(a, b)[0, 1]) > 0.999]
    assert 10 < len(alike) < 30
    same = sum(np.array_equal(a, b) for a, b in alike)
    assert 0.2 < same / len(alike) < 0.8


def test_segments_are_changed_as_params_say(split: Path) -> None:
    def spectrum(**changes: float) -> np.ndarray:
        # The speed is one for a batch.
        drawn = segments(split, 24_000, 1, 12_000, 0, **changes)
        made = torch.cat([drawn.batch(2, gain_db=(0, 0)) for _ in range(20)])
        assert made.shape == (40, 1, 12_000)
        assert made.isfinite().all()
        return np.abs(np.fft.rfft(made[:, 0].numpy() * np.hanning(12_000)))

    def peaks(spectra: np.ndarray) -> np.ndarray:
        return spectra.argmax(axis=1) * 2.0

    plain = spectrum()
    assert set(peaks(plain)) == {440, 880}
    speeds = peaks(spectrum(resample=1.0)) / peaks(plain)
    assert 0.79 < speeds.min() < 0.9
    assert 1.3 < speeds.max() < 1.51
    # Both tones in one segment, the drawn one the louder.
    mixed = spectrum(mix=1.0)
    both = (mixed[:, 220] > 100) & (mixed[:, 440] > 100)
    assert 5 < both.sum() < 35
    # The tones' levels change; what there is above 12 kHz / 2 has no say in that.
    levels = spectrum(filter=1.0).max(axis=1) / plain.max(axis=1)
    assert 0.4 < levels.min() < 0.9
    assert 1.1 < levels.max() < 2.1


def test_processes_draw_the_same_batch_and_build_their_parts(split: Path) -> None:
    changes = {"mix": 0.5, "filter": 0.5, "resample": 0.5}
    make = lambda: segments(split, 24_000, 1, 12_000, 0, **changes)  # noqa: E731
    whole, one = make().batch(6), make()
    # Transforms of another number of signals may round the last digit another way.
    torch.testing.assert_close(one.batch(6, part=slice(2, 4)), whole[2:4], rtol=0, atol=1e-5)
    other = make()
    other.batch(6)
    assert torch.equal(one.batch(6), other.batch(6))


def test_segments_follow_their_seed(split: Path) -> None:
    make = lambda seed: segments(split, 8_000, 1, 4_000, seed).batch(4)  # noqa: E731
    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))


def planned(
    split: Path, folder: Path, steps: int, config: CodecConfig = SPECTRAL, **changes: object
) -> loop.Plan:
    """A short training of a tiny codec; ``changes`` are for the optimizer's settings."""
    torch.manual_seed(0)
    settings = params.load(ROOT / "params.yaml")
    defaults = {"batch_size": 2, "warmup_steps": 0, "accelerator": "cpu", "save_seconds": 1e-9}
    optimizer = settings.optimizer.model_copy(update=defaults | changes)
    codec = AudioCodec(config)
    size = (config.sample_rate, config.channels, config.sample_rate // 4 // config.hop * config.hop)
    return loop.Plan(
        codec=codec,
        objective=Objective(settings.loss, 0.01, config.sample_rate, config.levels),
        adversary=None,
        balanced=False,
        settings=optimizer,
        steps=steps,
        training=segments(split, *size, 0),
        validation=segments(split, *size, 1),
        folder=folder,
        fingerprint="same",
    )


def alone() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


class Killed(Exception):
    """In place of a signal: whatever ends the loop between two steps."""


@pytest.mark.parametrize(
    ("which", "at"),
    [("scalar", 1), ("scalar", 26), ("residual", 13), ("adversarial", 13)],
)
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    which: str, at: int, split: Path, tmp_path: Path
) -> None:
    def plan(folder: str) -> loop.Plan:
        made = planned(split, tmp_path / folder, 30, RESIDUAL if which == "residual" else SPECTRAL)
        if which == "adversarial":
            made.adversary = Adversary.build(24_000, 2, 1e-3, {"adversarial": 1.0, "features": 1.0})
            made.balanced = True
        return made

    whole = loop.train(plan("whole"), alone())
    killed = plan("killed")
    draw, steps = killed.training.batch, iter(range(at))

    def batch(*args: object, **kwargs: object) -> torch.Tensor:
        if next(steps, None) is None:
            raise Killed
        return draw(*args, **kwargs)  # type: ignore[arg-type]

    killed.training.batch = batch  # type: ignore[method-assign]
    with pytest.raises(Killed):
        loop.train(killed, alone())
    torch.manual_seed(123)  # a new process would be anywhere
    again = loop.train(plan("killed"), alone())
    pd.testing.assert_frame_equal(whole.curve, again.curve)
    for name, value in whole.codec.state_dict().items():
        assert torch.equal(value, again.codec.state_dict()[name]), name


def test_a_state_of_another_training_is_left_alone(split: Path, tmp_path: Path) -> None:
    loop.train(planned(split, tmp_path, 2), alone())
    assert resume.load(tmp_path / resume.STATE, "same") is not None
    other = planned(split, tmp_path, 3)
    other.fingerprint = "other"
    curve = loop.train(other, alone()).curve
    assert curve[curve.split == "train"].step.tolist() == [3]
    marks = {
        resume.fingerprint(*facts, data=[split / manifest.FILE_NAME])
        for facts in (("a", 1), ("a", 2), ("b", 1))
    }
    assert len(marks) == 3


def test_two_trainers_cannot_share_a_folder(tmp_path: Path) -> None:
    with (
        resume.locked(tmp_path, main=True),
        pytest.raises(UserError, match="another training"),
        resume.locked(tmp_path, main=True),
    ):
        pass
    with resume.locked(tmp_path, main=True):
        pass


def test_a_loss_that_is_not_finite_names_step_and_batch(split: Path, tmp_path: Path) -> None:
    plan = planned(split, tmp_path, 3)
    with torch.no_grad():
        plan.codec.decoder.get_parameter("head.weight")[0, 0] = torch.nan
    with pytest.raises(RuntimeError, match=r"step 1: not finite: .*batch: (mono|stereo)\.flac, "):
        loop.train(plan, alone())


def test_validation_has_real_bits_next_to_the_estimate(split: Path, tmp_path: Path) -> None:
    curve = loop.train(planned(split, tmp_path, 8), alone()).curve
    valid = curve[curve.split == "valid"]
    assert valid.step.tolist() == list(range(1, 9))
    np.testing.assert_allclose(valid.coded_kbps, valid.kbps, rtol=0.25)


def test_a_record_has_metrics_clips_and_the_best_weights(split: Path, tmp_path: Path) -> None:
    plan = planned(split, tmp_path, 8)
    sounds = originals(split, SPECTRAL, params.Watch(clips=2, seconds=0.5, at=[0.5, 1.0]))
    plan.watcher = watch.Record(tmp_path, sounds, [4, 8], SPECTRAL.sample_rate)
    seen = {}
    plan.watcher.validated = lambda step, codec, best, tell=plan.watcher.validated: (  # type: ignore[method-assign, misc]
        tell(step, codec, best),
        seen.update({step: codec.decoder.get_parameter("head.weight").clone()} if best else {}),
    )
    curve = loop.train(plan, alone()).curve
    valid = curve[curve.split == "valid"].set_index("step")
    # The weights of the validation with the lowest loss, and no later ones.
    best = checkpoint.load(tmp_path / watch.BEST)
    torch.testing.assert_close(
        best.decoder.get_parameter("head.weight"), seen[valid.total.idxmin()]
    )
    plot = pd.read_csv(tmp_path / "live/plots/metrics/valid/kbps.tsv", sep="\t")
    np.testing.assert_allclose(plot.kbps, valid.kbps)
    last = json.loads((tmp_path / "live/metrics.json").read_text())
    assert last["valid"]["total"] == pytest.approx(valid.total.iloc[-1])
    shares = [value for name, value in last["train"].items() if name.startswith("share_")]
    assert sum(shares) == pytest.approx(1)
    heard = {path.stem for path in (tmp_path / "clips").glob("*.flac")}
    steps = ("original", "step-000004", "step-000008")
    assert heard == {f"{name}-{step}" for name in ("mono", "stereo") for step in steps}
    wave, rate = audio.read(tmp_path / "clips/mono-step-000008.flac")
    assert rate == SPECTRAL.sample_rate
    assert wave.shape[-1] / rate == pytest.approx(0.5, abs=0.02)


def test_a_record_that_was_cut_is_told_again(split: Path, tmp_path: Path) -> None:
    record = watch.Record(tmp_path, {}, [], 24_000)
    record.begin([])
    assert (tmp_path / "clips").is_dir()  # an out of the stage, where no clip is asked for, too
    for step in (25, 50, 75):
        record.row({"step": step, "split": "train", "kbps": float(step)})
    again = watch.Record(tmp_path, {}, [], 24_000)
    again.begin([{"step": 25, "split": "train", "kbps": 25.0}])
    again.row({"step": 50, "split": "train", "kbps": 51.0})
    plot = pd.read_csv(tmp_path / "live/plots/metrics/train/kbps.tsv", sep="\t")
    assert plot.kbps.tolist() == [25, 51]


def test_averaged_weights_follow_the_trained_ones(split: Path, tmp_path: Path) -> None:
    last = planned(split, tmp_path / "a", 6, average=0.0)
    codec = loop.train(last, alone()).codec
    for name, value in last.codec.state_dict().items():
        torch.testing.assert_close(codec.state_dict()[name], value)
    slow = planned(split, tmp_path / "b", 6, average=0.9)
    codec = loop.train(slow, alone()).codec
    different = [
        not torch.equal(codec.state_dict()[name], value)
        for name, value in slow.codec.state_dict().items()
        if value.is_floating_point()
    ]
    assert any(different)


def test_a_training_starts_from_what_init_names(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model, path = AudioCodec(SPECTRAL), tmp_path / "model.safetensors"
    checkpoint.save(model, path)
    torch.manual_seed(2)
    new = started(SPECTRAL, "scratch", path)
    assert not torch.equal(
        new.encoder.get_parameter("stem.weight"), model.encoder.get_parameter("stem.weight")
    )
    for init in ("base", str(path)):
        same = started(SPECTRAL, init, path).state_dict()
        assert all(torch.equal(same[name], value) for name, value in model.state_dict().items())
    other = started(SPECTRAL.model_copy(update={"quantizer": "residual"}), str(path), path)
    for part in ("encoder", "decoder"):
        pairs = zip(
            getattr(other, part).parameters(), getattr(model, part).parameters(), strict=True
        )
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    codebooks = AudioCodec(RESIDUAL)
    checkpoint.save(codebooks, path)
    with_context = RESIDUAL.model_copy(update={"entropy": "context"})
    vectors = started(with_context, str(path), path).state_dict()["quantizer.vectors"]
    assert torch.equal(vectors, codebooks.state_dict()["quantizer.vectors"])
    checkpoint.save(model, path)
    with pytest.raises(UserError, match=r"init .*has widths \[.*make them the same"):
        started(SPECTRAL.model_copy(update={"widths": [48]}), str(path), path)
    with pytest.raises(UserError, match="nothing: neither a released model"):
        started(SPECTRAL, "nothing", path)


def smooth() -> Objective:
    """A loss whose gradient no rounding error turns: no logarithm of the near silence that tones
    have between them, and, without beta, no noise of the rate's estimate.
    """
    loss = params.load(ROOT / "params.yaml").loss
    terms = {"log_magnitude": 0.0, "mel": 0.0, "phase": 1.0, "mse": 10.0}
    return Objective(loss.model_copy(update=terms), 0.0, SPECTRAL.sample_rate)


def together(rank: int, split: Path, folder: Path, port: int, residual: bool) -> None:
    """One of two processes that train as one."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GROUP_RANK="0",
        TORCHELASTIC_RUN_ID="test",
    )  # fmt: skip
    torch.set_num_threads(1)
    plan = planned(split, folder, 4, RESIDUAL if residual else SPECTRAL, batch_size=2)
    plan.objective = smooth()
    curve = loop.train(plan, processes(plan.settings)).curve
    if rank == 0:
        curve.to_csv(folder / "together.csv")


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(split: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tmp_path.mkdir(exist_ok=True)
    torch.multiprocessing.spawn(together, (split, tmp_path, port, False), nprocs=2)
    both = pd.read_csv(tmp_path / "together.csv", index_col=0)
    plan = planned(split, tmp_path / "one", 4, batch_size=4)
    plan.objective = smooth()
    one = loop.train(plan, alone()).curve
    for name in ("mse", "phase", "commitment"):
        np.testing.assert_allclose(
            both[both.split == "valid"][name], one[one.split == "valid"][name], rtol=1e-4
        )


@pytest.mark.parametrize("balanced", [False, True])
def test_gradients_through_the_balancer_are_those_of_the_weighted_sum(balanced: bool) -> None:
    torch.manual_seed(0)
    target, wave = torch.randn(3, 1, 500), torch.randn(3, 1, 500, requires_grad=True)
    losses = {
        "loud": 100 * (wave - target).square().mean(),
        "quiet": 0.01 * (wave - target).abs().mean(),
    }
    balancer = Balancer({"loud": 1.0, "quiet": 3.0}, balanced)
    gradient, shares = balancer.gradient(losses, wave)
    plain = {n: torch.autograd.grad(v, wave, retain_graph=True)[0] for n, v in losses.items()}
    if not balanced:
        torch.testing.assert_close(gradient, plain["loud"] + 3 * plain["quiet"])
        assert shares["loud"] > 0.99
        return
    assert shares == pytest.approx({"loud": 0.25, "quiet": 0.75})
    # Each at a norm of one, in the shares of their weights; the unit is that of one item's
    # samples moved by one (root mean square).
    unit = {n: g / (g.flatten(1).norm(dim=1).mean() * 3 * 500**0.5) for n, g in plain.items()}
    torch.testing.assert_close(gradient, 0.25 * unit["loud"] + 0.75 * unit["quiet"])


def test_the_discriminator_learns_to_tell_noise_from_tones_and_says_so() -> None:
    torch.manual_seed(0)
    adversary = Adversary.build(8_000, 4, 3e-3, {"adversarial": 1.0, "features": 1.0})
    real = torch.from_numpy(tone(0.5, 8_000, channels=4))[:, None]
    noise = 0.3 * torch.randn_like(real)
    before = adversary.opinion(real, noise)["adversarial"]
    for _ in range(30):
        adversary.optimizer.zero_grad()
        lesson = adversary.lesson(real, noise)
        lesson.backward()
        adversary.optimizer.step()
    assert float(lesson.detach()) < 1.0
    opinion = adversary.opinion(real, noise)
    assert float(opinion["adversarial"]) > float(before)
    assert float(adversary.opinion(real, real)["features"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "quantizer"),
    [(name, "scalar") for name in PRESETS]
    + [(name, "residual") for name in PRESETS if PRESETS[name].architecture != "transform"],
)
def test_every_preset_trains_compresses_and_decompresses(
    preset: str, quantizer: str, split: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    fields = PRESETS[preset].model_dump() | {"quantizer": quantizer, "codebook_size": 64}
    codec = AudioCodec(CodecConfig.model_validate(fields))
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    config = codec.config
    plan = planned(split, tmp_path, 2, config)
    plan.codec = codec
    result = loop.train(plan, alone())
    curve, trained = result.curve, result.codec
    assert np.isfinite(curve.total).all()
    assert curve.step.max() == 2
    moved = {name for name, value in codec.state_dict().items() if not value.equal(before[name])}
    assert {name.partition(".")[0] for name in moved} >= {"encoder", "prior", "decoder"}
    assert ("quantizer.vectors" in moved) == (quantizer == "residual")
    codec = trained.freeze()
    wave = tone(0.3, 44_100, channels=2)
    back, rate = codec.decompress(codec.compress(wave, 44_100))
    assert (back.shape, rate) == (wave.shape, 44_100)
    assert np.isfinite(back).all()


def test_a_perceptual_decoder_trains_alone_and_files_stay_what_they_are(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    base, path = AudioCodec(TRANSFORM), tmp_path / "base.safetensors"
    base.round_weights()
    checkpoint.save(base.freeze(), path, small=True)
    config = TRANSFORM.model_copy(update={"perceptual_noise": 4})
    plan = planned(split, tmp_path / "state", 8, config)
    plan.codec = started(config, str(path), path)
    weights = {"adversarial": 1.0, "features": 1.0}
    plan.adversary = Adversary.build(config.sample_rate, 2, 1e-3, weights)
    plan.balanced = True
    before = {name: value.clone() for name, value in plan.codec.state_dict().items()}
    result = loop.train(plan, alone())
    moved = {
        name
        for name, value in result.codec.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert "perceptual.texture.weight" in moved
    assert all(name.startswith("perceptual.decoder.") for name in moved - {
        "perceptual.texture.weight"
    })  # fmt: skip
    valid = result.curve[result.curve.split == "valid"]
    assert (valid.coded_kbps > 0).all()
    assert valid.coded_kbps.nunique() == 1  # of files that training does not change
    assert np.isfinite(valid.total).all()
    # Saved and rounded, as the pipeline's stages do it.
    (tmp_path / "models/one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    checkpoint.save(result.codec, layout.weights("one", "last"))
    codec = checkpoint.load(layout.weights("one", "last"))
    codec.round_weights()
    checkpoint.save(codec, layout.model_file("one"), small=True)
    after, wave = checkpoint.load(layout.model_file("one")), tone(0.5, config.sample_rate, 200.0, 2)
    old = checkpoint.load(path)
    assert after.compress(wave, config.sample_rate) == old.compress(wave, config.sample_rate)
    # Trained on, it goes on from where it was.
    again = started(config, str(layout.model_file("one")), path)
    assert again.model_hash == old.model_hash
    assert all(
        torch.equal(value, after.state_dict()[name])
        for name, value in again.state_dict().items()
        if not name.startswith("prior.")
    )
    assert not any(parameter.requires_grad for parameter in again.decoder.parameters())
    # Without it, the whole codec trains on, as from a model that never had one.
    whole = started(TRANSFORM, str(layout.model_file("one")), path)
    assert all(parameter.requires_grad for parameter in whole.parameters())
    assert whole.tables is None
    for name, value in whole.decoder.state_dict().items():
        assert torch.equal(value, after.decoder.state_dict()[name])
