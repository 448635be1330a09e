from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.config import PRESETS
from codec.errors import UserError
from pipeline import params
from pipeline.params.points import own
from tests.conftest import ROOT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


def test_the_project_s_own_params_are_valid_and_explained(file: Path) -> None:
    found = params.load(file)
    assert found.codec.config() == PRESETS["spectral-24k"]
    assert len(found.models) >= 4
    points = list(found.points)
    # Each model's own point, in the order of the models, after those of what is released.
    assert [point for point in points if point in set(map(own, found.models))] == [
        own(model) for model in found.models
    ]
    # Opus left to itself alone would be a starved anchor.
    assert set(found.series().values()) == {
        "neural", "sweep", "rvq", "opus", "opus-wide", "opus-full",
    }  # fmt: skip
    assert found.points_of("rvq") == ["neural-rvq", "neural-rvq-q2"]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "models.b070={beta: -0.1}",
            r"models\.b070\.beta: 0 or more, .*not -0\.1",
        ),
        ("train.steps=many", r"train\.steps: .*valid integer.*'many'"),
        ("train.steps=1.5", r"train\.steps: .*valid integer"),
        ("train.steps=0", r"train\.steps: .*greater than or equal to 1"),
        ("train.stepz=5", r"params\.yaml: train\.stepz: unknown key"),
        ("corpus.synthetic.test_clips=0", r"corpus\.synthetic\.test_clips: "),
        ("corpus.source=internet", r"corpus\.source: "),
        ("codec.strides=[300]", r"codec: strides: hop 300 does not divide window 1280"),
        ("codec.colour=red", r"codec: colour: unknown key"),
        ("codec.preset=best", r"codec\.preset: no preset 'best'"),
        (
            "models.rvq.codec={quantizer: scalar}",
            r"points\.neural-rvq-q2\.options\.codebooks: rvq has no codebooks",
        ),
        ("layers={}", r"layers: unknown key"),
        (
            "models.b070={beta: 1.0, codec: {quantizer: residual, codebooks: 0}}",
            r"models\.b070\.codec: codebooks: ",
        ),
        (
            "points.neural-rvq-q2.options.codebooks=9",
            r"points\.neural-rvq-q2\.options\.codebooks: 9, and rvq has 1 to 8",
        ),
        ("points.neural-rvq-q2.options.codebooks=two", r"codebooks: 'two', and rvq has 1 to 8"),
        (
            "points.x={coder: rdcodec, from: models/none/model.safetensors, series: neural}",
            r"points\.x\.from: there is no model 'none'",
        ),
        (
            "points.x={coder: rdcodec, from: models/b050, series: neural}",
            r"points\.x\.from: models/b050: a model's file is models/b050/model\.safetensors",
        ),
        (
            "points.x={coder: rdcodec, from: data/test, series: neural}",
            r"points\.x\.from: rdcodec codes with a model, such as ",
        ),
        ("points.x={coder: rdcodec, series: neural}", r"points\.x\.from: missing"),
        (
            "points.x={coder: vorbis, from: data/test, series: vorbis}",
            r"points\.x\.coder: there is no coder 'vorbis'; installed are aac, ",
        ),
        ("coders.vorbis={}", r"coders\.vorbis: there is no coder 'vorbis'"),
        (
            "points.x={coder: dac, from: codec, options: {weights: y}, series: dac}",
            r"points\.x\.options\.weights: they are what `from` names",
        ),
        (
            "points.neural-b050={coder: mp3, from: data/test, series: mp3}",
            r"points\.neural-b050: that is the name of model b050's own point",
        ),
        (
            "points.neural-b050.from=models/b070/model.safetensors",
            r"points\.neural-b050: that is the name of model b050's own point",
        ),
        (
            "points.opus-06={coder: opus, from: data/test, options: {kbps: 6}, series: opus}",
            r"points\.opus-06: the same coder at the same setting as points\.opus-6",
        ),
        (
            "points.external-x={coder: opus, from: data/test, options: {kbps: 7}, series: opus}",
            r"points\.external-x: scores from elsewhere have such names",
        ),
        ("points.neural-b050.series=ablation", r"points\.neural-b050\.series: models that say"),
        (
            "models.b777={beta: 0.777}",
            r"points\.neural-b777: missing: model b777 needs it, such as",
        ),
        ("models.b070={beta: 1.0, loss: {phase: -1.0}}", r"models\.b070\.loss: phase: "),
        ("models.b070={beta: 1.0, loss: {fase: 1.0}}", r"models\.b070\.loss: fase: unknown key"),
        ("models.b070={beta: 1.0, ablates: b1}", r"models\.b070\.ablates: there is no model 'b1'"),
        ("watch.at=[2.0]", r"watch\.at\.0: .*less than or equal to 1"),
        ("models.rvq-q2={beta: 1.0}", r"points\.neural-rvq-q2: that is the name of model rvq-q2's"),
        ("models.b0.5={beta: 0.5}", r"no key models\.b0\.5"),
        ("models.B={beta: 0.5}", r"models: 'B' is no name"),
        ("models.base={beta: 0.5}", r"models: 'base' is no name"),
        ("optimizer.segment_seconds=0.01", r"optimizer\.segment_seconds: .*fewer samples"),
        ("train.steps", "key.of.it=value"),
        ("train.steps=[", "not YAML"),
    ],
)
def test_what_is_impossible_stops_with_a_line_that_names_the_key(
    file: Path, assignment: str, message: str
) -> None:
    before = file.read_text()
    with pytest.raises(UserError, match=message) as raised:
        params.change([assignment], file)
    assert "\n" not in str(raised.value)
    assert file.read_text() == before


def test_a_key_that_nobody_knows_is_named(file: Path) -> None:
    file.write_text(file.read_text().replace("  gradient_clip:", "  gradient_clap:"))
    with pytest.raises(UserError, match=r"optimizer\.gradient_cl.p: (unknown key|missing)"):
        params.load(file)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml: no such file"):
        params.load(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"broken\.yaml: not YAML"):
        params.load(tmp_path / "broken.yaml")


def test_changes_keep_comments_and_everything_else(file: Path) -> None:
    before = file.read_text().splitlines()
    params.change(["train.steps=501", "corpus.source=folder", "corpus.train=../somewhere"], file)
    after = file.read_text().splitlines()
    changed = [line for line in after if line not in before]
    assert len(before) == len(after)
    assert [line.split("#")[0].split(":")[0].strip() for line in changed] == [
        "source",
        "train",
        "steps",
    ]
    assert any("# for each model" in line for line in changed)
    found = params.load(file)
    assert (found.train.steps, found.corpus.train) == (501, "../somewhere")


def test_setting_the_present_value_changes_nothing(file: Path) -> None:
    before = file.read_text()
    params.change([f"train.steps={params.load(file).train.steps}"], file)
    assert file.read_text() == before


def test_a_path_that_leads_nowhere_names_its_key(file: Path) -> None:
    params.check_paths(params.load(file), ROOT)
    params.change(["corpus.source=folder", "corpus.test=absent/audio"], file)
    with pytest.raises(UserError, match=r"corpus\.test: absent/audio: no such file or folder"):
        params.check_paths(params.load(file), ROOT)


OWN_POINT = "{coder: rdcodec, from: models/%s/model.safetensors, series: neural}"


def test_a_new_model_can_be_set(file: Path) -> None:
    own = f"points.neural-b777={OWN_POINT % 'b777'}"
    params.change(["models.b777={beta: 0.777}", own], file)
    found = params.load(file)
    assert found.models["b777"].beta == 0.777
    assert found.points_of("b777") == ["neural-b777"]


def test_a_coder_gets_what_its_points_share_its_weights_and_its_own_options(file: Path) -> None:
    params.change(
        ["coders.opus={complexity: 5, vbr: false}", "points.opus-6.options.vbr=true"], file
    )
    found = params.load(file)
    assert found.coder_of("opus-6") == ("opus", {"complexity": 5, "vbr": True, "kbps": 6})
    assert found.coder_of("opus-12") == ("opus", {"complexity": 5, "vbr": False, "kbps": 12})
    assert found.coder_of("neural-rvq-q2") == (
        "rdcodec",
        {"weights": "models/rvq/model.safetensors", "codebooks": 2},
    )


def test_weights_that_are_not_there_are_named(file: Path) -> None:
    point = "points.dac-2={coder: dac, from: /my/dac, options: {codebooks: 2}, series: dac}"
    params.change([point], file)
    with pytest.raises(UserError, match=r"points\.dac-2\.from: /my/dac: no such file or folder"):
        params.check_paths(params.load(file), ROOT)


def test_a_point_that_stands_there_twice_is_named(file: Path) -> None:
    line = "  opus-6: {coder: opus, from: data/test, options: {kbps: 6}, series: opus}\n"
    assert line in file.read_text()
    file.write_text(file.read_text().replace(line, 2 * line))
    with pytest.raises(UserError, match=r'duplicate key "opus-6"') as raised:
        params.load(file)
    assert "\n" not in str(raised.value)


@given(steps=st.integers(1, 10**9), beta=st.floats(0, 1e6))
@settings(deadline=None, max_examples=15)  # a file is parsed four times in each
def test_any_possible_value_arrives(tmp_path_factory: pytest.TempPathFactory, steps, beta) -> None:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    params.change([f"train.steps={steps}", f"pretrain.beta={beta!r}"], path)
    found = params.load(path)
    assert (found.train.steps, found.pretrain.beta) == (steps, beta)


def test_every_variant_applies_and_says_what_it_is(file: Path) -> None:
    before = file.read_text()
    assert {"mse", "no-phase", "no-balancer", "no-adversarial", "release"} <= set(params.variants())
    for name, about in params.variants().items():
        params.change([], file, [name])
        assert file.read_text() != before
        params.load(file)
        assert about.endswith(".")
        file.write_text(before)


def test_ablations_change_what_they_name_and_nothing_else(file: Path) -> None:
    params.change(["seed=3"], file, ["no-phase", "adversarial", "no-adversarial"])
    found = params.load(file)
    assert found.seed == 3
    assert found.loss_of("no-phase") == found.loss.model_copy(update={"phase": 0.0})
    assert found.adversarial_of("no-phase").enabled
    assert not found.adversarial_of("no-adversarial").enabled
    assert found.models["no-phase"].beta == found.models["b070"].beta
    assert found.series()["neural-no-phase"] == params.ABLATION
    assert "# samples; window sizes of" in file.read_text()


def test_a_variant_may_be_a_file_and_delete_models(file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "models: {b070: null, own: {beta: 0.5}}\n"
        f"points: {{neural-rvq-q2: null, neural-b070: null, neural-own: {OWN_POINT % 'own'}}}\n"
    )
    before = params.load(file)
    params.change([], file, [str(mine)])
    found = params.load(file)
    assert set(found.models) == set(before.models) - {"b070"} | {"own"}
    assert set(found.points) == set(before.points) - {"neural-rvq-q2", "neural-b070"} | {
        "neural-own"
    }
    with pytest.raises(UserError, match="--variant nothing: there are adversarial, "):
        params.change([], file, ["nothing"])


def test_the_schema_of_a_patch_asks_for_nothing_and_refuses_what_is_wrong(file: Path) -> None:
    schema = params.schema()
    assert "$ref" not in str(schema)
    jsonschema.validate({}, schema)
    patch = {"train": {"steps": 3}, "loss": {"balanced": False}, "seed": 4}
    jsonschema.validate(patch, schema)
    for wrong in ({"sed": 4}, {"train": {"steps": 0}}, {"loss": {"balanced": "no"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    before = params.load(file)
    params.change(path=file, patch=patch)
    found = params.load(file)
    assert (found.seed, found.train.steps, found.loss.balanced) == (4, 3, False)
    assert found.points == before.points
    with pytest.raises(UserError, match=r"train\.steps: .* not 0"):
        params.change(path=file, patch={"train": {"steps": 0}})


@pytest.mark.parametrize(
    ("text", "what"), [("", "empty"), ("# later\n", "empty"), ("- a\n", "no mapping")]
)
def test_a_variant_without_keys_is_one_line(
    file: Path, tmp_path: Path, text: str, what: str
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.yaml: {what}; write keys of params\.yaml there"):
        params.change([], file, [str(mine)])


def test_a_form_that_deletes_below_what_is_not_there_changes_nothing_else(file: Path) -> None:
    point = {"coder": "opus", "from": "data/test", "options": {"kbps": 7, "vbr": None}}
    params.change(path=file, patch={"points": {"opus-7": {**point, "series": "opus"}}})
    assert params.load(file).points["opus-7"].options == {"kbps": 7}
