"""What was measured of a run's model: values, plots and card, each a file of the model that is proven by its digest.

Names, texts and pictures in it are whatever the job's code has written.
"""

import struct
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from footplate.api.reports import EvaluationStatus, GateStatus
from footplate.client.artifacts import Artifact, ArtifactDamaged
from footplate.client.untrusted import plain
from footplate_trainer.evaluation.card import CARD_NAME
from footplate_trainer.evaluation_file import EVALUATION_FILE, PLOTS, DataEvaluation, EvaluationFile

MAX_BYTES = 16 << 20
"""Of evaluation.json: ours are smaller by far, and what is built to be slow takes seconds to understand."""
MAX_PLOTS = 32
MAX_PLOT_BYTES = 4 << 20
MAX_PIXELS = 8_000_000
"""Of a plot: a small file may unpack to more memory than there is."""
MAX_CARD_BYTES = 256 << 10
_PNG = struct.Struct(">8sI4sII")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class JobEvaluation:
    """What was measured of a run's model: `evaluation.data["test"].values["accuracy"]`.

    `data` holds by the name of some data all that evaluation.json says of them; it is empty where the code has left
    none. `gates` are those of `spec.evaluation`, with what the model has reached.
    """

    def __init__(self, artifact: Artifact, status: EvaluationStatus | None) -> None:
        self.artifact = artifact
        self.gates: Sequence[GateStatus] = status.gates if status is not None else []
        self.accepted = artifact.status.accepted
        """Whether all gates are passed; None where there are none."""
        self.data: Mapping[str, DataEvaluation] = _read(artifact)

    def plot_names(self) -> list[str]:
        """Names of the plots, such as `test-confusion.png`, at most `MAX_PLOTS`; those of the training come last."""
        files = (each.name.removeprefix(f"{PLOTS}/") for each in self.artifact.manifest.files if _is_plot(each.name))
        return sorted(files, key=lambda name: (name.startswith("curve-"), name))[:MAX_PLOTS]

    def plot(self, name: str) -> bytes | None:
        """A plot as PNG; None where there is none of that name, or what has that name is no such picture.

        Raises:
            ClientError: it has more than `MAX_PLOT_BYTES`.
            ArtifactDamaged: it isn't what was trained.
            StorageUnreadable: it can't be read from here.
        """
        return read_plot(self.artifact, name)

    def card(self) -> str:
        """README.md, in Markdown; empty where the model has none. Raises as `plot` does."""
        return (self.artifact.read(CARD_NAME, most=MAX_CARD_BYTES) or b"").decode(errors="replace")

    def _repr_html_(self) -> str:
        from footplate.client.html import evaluation_html

        plots = {name: self.plot(name) for name in self.plot_names()}
        return evaluation_html(self.gates, self.data, {name: data for name, data in plots.items() if data is not None})


def read_plot(artifact: Artifact, name: str) -> bytes | None:
    """A plot of a model, as `JobEvaluation.plot`."""
    path = f"{PLOTS}/{name}"
    data = artifact.read(path, most=MAX_PLOT_BYTES) if _is_plot(path) else None
    return data if data is not None and _is_picture(data) else None


def _read(artifact: Artifact) -> Mapping[str, DataEvaluation]:
    raw = artifact.read(EVALUATION_FILE, most=MAX_BYTES)
    try:
        return EvaluationFile.model_validate_json(raw, extra="ignore").data if raw is not None else {}
    except ValidationError as error:
        raise ArtifactDamaged(f"{plain(artifact.uri)}: {EVALUATION_FILE} isn't one that Footplate wrote") from error


def _is_plot(path: str) -> bool:
    folder, _, name = path.partition("/")
    return folder == PLOTS and name.lower().endswith(".png") and "/" not in name


def _is_picture(data: bytes) -> bool:
    """Whether it begins as a PNG of bounded size does."""
    if len(data) < _PNG.size:
        return False
    signature, _, kind, width, height = _PNG.unpack_from(data)
    return (signature, kind) == (_SIGNATURE, b"IHDR") and 0 < int(width * height) <= MAX_PIXELS
