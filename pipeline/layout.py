"""Every path that a stage writes or reads, once, from the project's folder."""

from pathlib import Path

PARAMS = Path("params.yaml")

DATA = Path("data")
TRAIN, VALID, TEST = DATA / "train", DATA / "valid", DATA / "test"
SKIPPED = DATA / "skipped.csv"

MODELS = Path("models")
TRAINING = "training.csv"
"""In a model's folder: the curve of its training."""
CHECKPOINTS = Path("checkpoints")
"""Where a training keeps what it needs to go on; gone when it is done."""

CODED, DECODED, SCORES = Path("coded"), Path("decoded"), Path("scores")
SKIP_NOTE = "SKIPPED"
"""In a point's folder under the first two, in place of its files: why it was not coded here."""

REPORTS = Path("reports")
ANCHORS = REPORTS / "anchors.csv"
"""Opus's scores on validation clips."""
CURVE, SUMMARY, SPEED = REPORTS / "rd.csv", REPORTS / "summary.json", REPORTS / "speed.csv"
PAGE, VERDICT = REPORTS / "index.html", REPORTS / "check.md"


def weights(model: str, keep: str) -> Path:
    """What a training has left: ``keep`` is ``last`` or ``best``."""
    return MODELS / model / f"{keep}.safetensors"


def model_file(model: str) -> Path:
    """The model that codes, with frozen tables."""
    return MODELS / model / "model.safetensors"


def model_table(model: str, name: str) -> Path:
    """A table about a model: training, entropy, codes, histogram or entropy_coders."""
    return MODELS / model / f"{name}.csv"


def training_facts(model: str) -> Path:
    """What was trained for how long, and on what."""
    return MODELS / model / "training.json"


def files_table(point: str) -> Path:
    """The bytes of a point's files, a row per clip."""
    return CODED / f"{point}.csv"


def coded_file(point: str, clip: str, suffix: str) -> Path:
    """The file that a clip became at a point."""
    return CODED / point / f"{clip}{suffix}"


def decoded_file(point: str, clip: str) -> Path:
    """What became of a clip at a point."""
    return DECODED / point / f"{clip}.flac"


def skip_note(folder: Path, point: str) -> Path:
    """The note in a point's folder under CODED or DECODED, which is there where it was skipped."""
    return folder / point / SKIP_NOTE


def scores_table(point: str) -> Path:
    """A point's scores, a row per clip and metric."""
    return SCORES / f"{point}.csv"


def external(name: str) -> str:
    """What the tables of scores from elsewhere are called, in place of a point."""
    return f"external-{name}"
