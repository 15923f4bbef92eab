"""MLflow, by its REST API alone: no package of its own is needed in the image.

The run of a job is found again by its tags, whatever attempt takes it up. MLflow can't undo a metric's point, so a
point is sent where it is beyond the last one that the run has: steps that an attempt does again are there already, and
so is what the code has logged by itself.
"""

import base64
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from footplate.api.tracking import MlflowTracking
from footplate.records import Line
from footplate_trainer.supervisor.secrets import MIN_LENGTH
from footplate_trainer.supervisor.tracking.rest import Refused, Rest
from footplate_trainer.supervisor.tracking.tracker import Dataset, End, Subject, TrackerTrouble

API: Final = "/api/2.0/mlflow"
FIELD: Final = "spec.tracking.mlflow.uri"
MOST_METRICS: Final = 1000
MOST_PARAMETERS: Final = 100
"""That MLflow takes in a request."""
MOST_VALUE: Final = 500
"""Characters of a parameter or a tag: what MLflow has always taken."""
MOST_DIGEST: Final = 36
"""Characters of a dataset's digest."""
DEFAULT_ALIAS: Final = "accepted"
STATUSES: Final = {"succeeded": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FORBIDDEN: Final = re.compile(r"[^/\w.\- :]")


def headers(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Who asks, by MLflow's own variables."""
    token, user, password = _credentials(environ)
    if token:
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": f"Basic {_basic(user, password)}"} if user else {}


def secrets_shown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the server learns, and may say again."""
    token, user, password = _credentials(environ)
    return [secret for secret in (token, _basic(user, password), password) if len(secret) >= MIN_LENGTH]


def _credentials(environ: Mapping[str, str]) -> tuple[str, str, str]:
    token, user, password = (
        environ.get(f"MLFLOW_TRACKING_{name}", "").strip() for name in ("TOKEN", "USERNAME", "PASSWORD")
    )
    return token, user, password


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Mlflow:
    """The run on its server. See `Tracker`."""

    name = "mlflow"
    seconds = 5.0

    def __init__(
        self, settings: MlflowTracking, subject: Subject, rest: Rest, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._subject = subject
        self._rest = rest
        self._clock = clock
        self._experiment = ""
        self._run = ""

    @property
    def url(self) -> str:
        """The run's page."""
        if not self._run:
            return ""
        return f"{self._uri}/#/experiments/{self._experiment}/runs/{self._run}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What MLflow's client reads: `mlflow.start_run()` then goes on with this run."""
        if not self._run:
            return {}
        return {
            "MLFLOW_TRACKING_URI": self._uri,
            "MLFLOW_EXPERIMENT_ID": self._experiment,
            "MLFLOW_RUN_ID": self._run,
        }

    @property
    def _uri(self) -> str:
        return (self._settings.uri or "").rstrip("/")

    def begin(self) -> None:
        """Begins the run, or takes it up again."""
        self._experiment = self._find_experiment()
        found = self._find_run()
        run = found if found is not None else self._create_run()
        self._run = _id(_block(run, "info"), "run_id")
        if found is not None:
            self._rest.post(f"{API}/runs/update", run_id=self._run, status="RUNNING")
            self._log(tags={"footplate.attempt": str(self._subject.attempt)})
        there = {parameter.get("key") for parameter in _blocks(_block(run, "data"), "params")}
        new = {name: value for name, value in self._subject.parameters.items() if name not in there}
        for names in _chunks(list(new), MOST_PARAMETERS):
            self._log(params={name: new[name] for name in names})

    def send(self, lines: Sequence[Line]) -> None:
        """Tells what was reported at steps that the run hasn't got yet, be it of us or of the code's own calls."""
        steps = self._last_steps()
        points: list[dict[str, Any]] = []
        for line in lines:
            for metric, value in line.metrics.items():
                name = _name(metric)
                if line.step > steps.get(name, -1):
                    steps[name] = line.step
                    points.append({"key": name, "value": value, "timestamp": int(line.time * 1000), "step": line.step})
        for chunk in _chunks(points, MOST_METRICS):
            self._rest.post(f"{API}/runs/log-batch", run_id=self._run, metrics=chunk)

    def end(self, end: End) -> None:
        """Tells how it ends; a model that is verified is registered, where the job asks for it."""
        model = end.artifact
        tags = {"footplate.outcome": end.outcome, "footplate.error": end.error}
        if model is not None:
            tags |= {"footplate.artifact": model.uri, "footplate.manifest.sha256": model.sha256}
        self._log(tags=tags)
        status = STATUSES[end.outcome]
        self._rest.post(f"{API}/runs/update", run_id=self._run, status=status, end_time=int(self._clock() * 1000))
        if end.outcome == "succeeded" and model is not None and self._settings.register_as is not None:
            self._register(self._settings.register_as, source=model.uri, sha256=model.sha256)
        if end.inputs:
            self._rest.post(f"{API}/runs/log-inputs", run_id=self._run, datasets=[*map(_dataset, end.inputs)])

    def _last_steps(self) -> dict[str, int]:
        """The last step that the run has of each metric."""
        run = _block(self._rest.get(f"{API}/runs/get", run_id=self._run), "run")
        return {
            key: step
            for metric in _blocks(_block(run, "data"), "metrics")
            if isinstance(key := metric.get("key"), str) and isinstance(step := _int(metric.get("step")), int)
        }

    def _find_experiment(self) -> str:
        name = self._settings.experiment or self._subject.namespace
        found: Mapping[str, Any] = {}
        try:
            with _unless("RESOURCE_DOES_NOT_EXIST"):
                found = self._rest.get(f"{API}/experiments/get-by-name", experiment_name=name)
            if not found:
                with _unless("RESOURCE_ALREADY_EXISTS"):  # another job was faster
                    self._rest.post(f"{API}/experiments/create", name=name)
                found = self._rest.get(f"{API}/experiments/get-by-name", experiment_name=name)
        except Refused as refused:
            raise _with_way_out(refused) from None
        return _id(_block(found, "experiment"), "experiment_id")

    def _find_run(self) -> Mapping[str, Any] | None:
        subject = self._subject
        wanted = f"tags.`footplate.uid` = '{subject.uid}' and tags.`footplate.run` = '{subject.run}'"
        found = self._rest.post(f"{API}/runs/search", experiment_ids=[self._experiment], filter=wanted, max_results=1)
        return next(iter(_blocks(found, "runs")), None)

    def _end_earlier(self) -> None:
        """Ends what earlier runs of the job have left as running: their pods are gone, and couldn't say so."""
        wanted = f"tags.`footplate.uid` = '{self._subject.uid}' and attributes.status = 'RUNNING'"
        found = self._rest.post(f"{API}/runs/search", experiment_ids=[self._experiment], filter=wanted, max_results=10)
        for run in _blocks(found, "runs"):
            self._rest.post(f"{API}/runs/update", run_id=_id(_block(run, "info"), "run_id"), status="FAILED")

    def _create_run(self) -> Mapping[str, Any]:
        subject = self._subject
        self._end_earlier()
        tags = {
            "mlflow.source.type": "JOB",
            "mlflow.source.name": subject.image,
            "footplate.job": f"{subject.namespace}/{subject.job}",
            "footplate.uid": subject.uid,
            "footplate.run": str(subject.run),
            "footplate.attempt": str(subject.attempt),
        }
        made = self._rest.post(
            f"{API}/runs/create",
            experiment_id=self._experiment,
            run_name=subject.job if subject.run == 1 else f"{subject.job}-{subject.run}",
            start_time=int(self._clock() * 1000),
            tags=_pairs(tags),
        )
        return _block(made, "run")

    def _log(self, *, tags: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None) -> None:
        said = {name: _pairs(values) for name, values in (("tags", tags), ("params", params)) if values}
        self._rest.post(f"{API}/runs/log-batch", run_id=self._run, **said)

    def _register(self, wanted: str, *, source: str, sha256: str) -> None:
        """Registers a model once, however often it is asked: a version is known by the model's manifest."""
        name, _, alias = wanted.partition("@")
        with _unless("RESOURCE_ALREADY_EXISTS"):
            self._rest.post(f"{API}/registered-models/create", name=name)
        found = self._rest.get(
            f"{API}/model-versions/search", filter=f"name = '{name}' and tags.`footplate.sha256` = '{sha256}'"
        )
        versions = _blocks(found, "model_versions")
        if not versions:
            tags = {"footplate.sha256": sha256, "footplate.uid": self._subject.uid}
            made = self._rest.post(
                f"{API}/model-versions/create", name=name, source=source, run_id=self._run, tags=_pairs(tags)
            )
            versions = [_block(made, "model_version")]
        # One that another run has registered keeps its aliases: they may have moved on since.
        if versions[0].get("run_id") == self._run:
            self._rest.post(
                f"{API}/registered-models/alias",
                name=name,
                alias=alias or DEFAULT_ALIAS,
                version=_id(versions[0], "version"),
            )


@contextmanager
def _unless(code: str) -> Iterator[None]:
    """Goes on where the server refuses for this reason."""
    try:
        yield
    except Refused as refused:
        if refused.code != code:
            raise


def _with_way_out(refused: Refused) -> Refused:
    if refused.status == 403 and "Host" in str(refused):
        return Refused(
            f"{refused}. The server must be started with --allowed-hosts for the name in {FIELD}", status=403
        )
    if refused.status in (401, 403):
        return Refused(f"{refused}. Set the credentials in the Secret of {FIELD[:-3]}secretRef", status=refused.status)
    return refused


def _dataset(given: Dataset) -> dict[str, Any]:
    kind = urlsplit(given.uri).scheme
    source: dict[str, str | int] = {"uri": given.uri}
    if given.version is not None:  # as MLflow's own DeltaDatasetSource has it
        kind, source = "delta_table", {"path": given.uri, "delta_table_version": given.version}
    dataset = {
        "name": given.name,
        "digest": given.sha256[:MOST_DIGEST],
        "source_type": kind,
        "source": json.dumps(source),
    }
    return {"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "training"}]}


def _name(metric: str) -> str:
    """A metric's name, as MLflow takes it: no path that leads out of the run."""
    plain = _FORBIDDEN.sub("_", metric).strip("/") or "_"
    return "/".join("_" if part in ("", ".", "..") else part for part in plain.split("/"))


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": _name(name)[:250], "value": value[:MOST_VALUE]} for name, value in values.items()]


def _chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _int(value: Any) -> int | None:
    """MLflow writes whole numbers of 64 bits as text, or as numbers."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _id(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise TrackerTrouble(f"the server says no {name}; is {FIELD} the address of an MLflow server?")
    return value


def _block(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def _blocks(said: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = said.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
