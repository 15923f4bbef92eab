"""Judges manifests without a cluster, by the rules that the operator itself applies."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from footplate.api.crd import GROUP, KINDS, VERSION
from footplate.api.errors import Problem, alternatives, each_once, explain, join, nearest
from footplate.api.types import at
from footplate.manifests.documents import Document
from footplate.policy.resolve import InvalidJob, RuntimeRefuses, check_alone, resolve

MODELS = {kind.name: kind.model for kind in KINDS}
RUNTIMES = [kind for kind in MODELS if kind.endswith("TrainingRuntime")]
API_VERSION = f"{GROUP}/{VERSION}"
GENERATED_SUFFIX = "xxxxx"
"""As long as what the API server appends to generateName."""
MODEL_STAYS = (
    "its model outlives it: deleted and applied again it trains no second time, and with another spec it is refused; "
    "a new runPolicy.restartNonce, or metadata.generateName and `kubectl create`, give each its own"
)

Manifest = Mapping[str, Any]
RuntimeKey = tuple[str, str | None, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one document: problems, or a note on what wasn't checked."""

    document: Document
    kind: str = ""
    name: str = ""
    problems: Sequence[Problem] = ()
    note: str = ""
    skipped: bool = False

    def to_json(self) -> dict[str, Any]:
        """The verdict for programs."""
        problems = [
            {
                "line": self.document.line_of(problem.path),
                "path": problem.path,
                "value": problem.value,
                "rule": problem.rule,
                "wayOut": problem.way_out,
            }
            for problem in self.problems
        ]
        place = {"file": self.document.file, "document": self.document.number, "line": self.document.line_of("")}
        status = "skipped" if self.skipped else "invalid" if problems else "valid"
        return place | {"kind": self.kind, "name": self.name, "status": status, "note": self.note, "problems": problems}

    def to_text(self) -> Iterator[str]:
        """The verdict for people, a line each thing to say."""
        what = f"document {self.document.number}" + (f", {self.kind} {self.name}".rstrip() if self.kind else "")
        for problem in self.problems:
            yield f"{self.document.file}:{self.document.line_of(problem.path)}: {what}: {problem}"
        if not self.problems:
            status = "skipped" if self.skipped else "valid"
            note = f" ({self.note})" if self.note else ""
            yield f"{self.document.file}:{self.document.line_of('')}: {what}: {status}{note}"


def judge(documents: Iterable[Document]) -> list[Verdict]:
    """One verdict for each document, or for each item of a List."""
    items = [item for document in documents for item in _items(document)]
    runtimes = {_runtime_key(item.content): item.content for item in items if _is_sound_runtime(item)}
    return [_judge(item, runtimes) for item in items]


def _items(document: Document) -> Iterator[Document]:
    content = document.content
    items = content.get("items") if isinstance(content, Mapping) and _kind(content).endswith("List") else None
    if document.problems or not isinstance(items, list):
        yield document
        return
    for index, item in enumerate(items):
        prefix = join("items", index)
        lines = {
            path.removeprefix(prefix).removeprefix("."): line
            for path, line in document.lines.items()
            if path.startswith(prefix)
        }
        yield Document(document.file, document.number, item, lines)


def _judge(document: Document, runtimes: Mapping[RuntimeKey, Manifest]) -> Verdict:
    content = document.content
    if not isinstance(content, Mapping):
        nothing = Problem("", None, "isn't a manifest", "write apiVersion, kind and metadata")
        return Verdict(document, problems=document.problems or [nothing])
    kind, name = _kind(content), _name(content)
    if not _is_ours(content):
        note = "not a kind of Footplate's"
        return Verdict(document, kind, name, document.problems, note, skipped=not document.problems)
    problems, note = [*document.problems, *_identity_problems(content)], ""
    if kind in MODELS:
        problems += _model_problems(content)
    if kind == "TrainingJob":
        more, note = _job_problems(content, runtimes)
        problems += more
    return Verdict(document, kind, name, each_once(problems), note)


def _is_ours(content: Manifest) -> bool:
    version = content.get("apiVersion")
    return str(version).startswith(f"{GROUP}/") or (version is None and _kind(content) in MODELS)


def _identity_problems(content: Manifest) -> Iterator[Problem]:
    version = content.get("apiVersion")
    if version is None or (version != API_VERSION and content.get("kind") not in MODELS):  # else its model says it
        yield Problem("apiVersion", version, f"must be {API_VERSION}")
    if (kind := _kind(content)) not in MODELS:
        yield Problem("kind", kind, f"must be {alternatives([*MODELS])}", nearest(kind, [*MODELS]))


def _model_problems(content: Manifest) -> list[Problem]:
    model = MODELS[content["kind"]]
    try:
        model.model_validate(with_name(content), by_name=False)
    except ValidationError as error:
        return explain(error, root="", model=model)
    return []


def _job_problems(job: Manifest, runtimes: Mapping[RuntimeKey, Manifest]) -> tuple[Sequence[Problem], str]:
    """What is wrong with a job over its runtime, or a note where the runtime isn't at hand."""
    job = with_name(job)
    reference, runtime = at(job, "spec", "runtimeRef"), None
    if reference is not None:
        name, kind = at(reference, "name"), at(reference, "kind") or "ClusterTrainingRuntime"
        if not (isinstance(name, str) and isinstance(kind, str)):
            return check_alone(job), ""
        runtime = runtimes.get(
            _runtime_key({"kind": kind, "metadata": {"name": name, "namespace": at(job, "metadata", "namespace")}})
        )
        if runtime is None:
            note = f"{kind} {name} isn't among the valid files: its defaults and policy weren't checked"
            return check_alone(job), note
    try:
        resolve(job, runtime, run=1)
    except (InvalidJob, RuntimeRefuses) as error:
        return error.problems, ""
    has_own_name = not at(job, "metadata", "name").endswith(GENERATED_SUFFIX)
    return (), MODEL_STAYS if has_own_name and at(job, "spec", "output") is not None else ""


def _is_sound_runtime(document: Document) -> bool:
    content = document.content
    if document.problems or not isinstance(content, Mapping) or _kind(content) not in RUNTIMES:
        return False
    return content.get("apiVersion") == API_VERSION and not _model_problems(content)


def _runtime_key(runtime: Manifest) -> RuntimeKey:
    metadata = runtime["metadata"]
    namespace = metadata.get("namespace") or "default"
    return runtime["kind"], namespace if runtime["kind"] == "TrainingRuntime" else None, metadata["name"]


def _kind(content: Manifest) -> str:
    return str(content.get("kind", ""))


def _name(content: Manifest) -> str:
    metadata = content.get("metadata")
    return str(metadata.get("name") or metadata.get("generateName") or "") if isinstance(metadata, Mapping) else ""


def with_name(content: Manifest) -> Manifest:
    """The manifest with the name that the API server would make of generateName."""
    metadata = content.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("name") or not isinstance(metadata.get("generateName"), str):
        return content
    return {**content, "metadata": {**metadata, "name": metadata["generateName"] + GENERATED_SUFFIX}}
