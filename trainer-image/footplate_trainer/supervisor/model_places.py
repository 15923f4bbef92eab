"""Where the model of a run goes, or that it is there already: told before training.

    <output.uri>/<job>/<number>/                       a place; its number is the run's, as long as that is free
    <output.uri>/<job>/<number>/<UID>-attempt-<n>/     a model that its place would not take

Who deletes a finished job and creates it again, as pruning, a TTL and GitOps do, wants no second training: a model that
a job of this name and namespace has left, made by the same spec and the same code, is the run's own, if every byte
of it is what its manifest says. Only a `restartNonce` that no such model has answered asks for another, which goes to
the next free place. A model of another spec, or of other code, is never replaced, and never taken for this one's.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from footplate.api.reports import ArtifactStatus, EvaluationStatus
from footplate_trainer.errors import ConfigError
from footplate_trainer.model_manifest import CodeRecord
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import committed, model_claims
from footplate_trainer.supervisor.committed import Committed
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.signing import why_unknown
from footplate_trainer.supervisor.source import Code, fetch_code

MOST_PLACES = 100
"""The newest places that are looked at: each costs two requests, while accelerators are idle."""
_BESIDE = re.compile(r"[0-9a-z-]{1,8}-attempt-\d+")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """What is known of a run's model before it is trained."""

    number: int
    model: ArtifactStatus | None = None
    """The verified model, where it is there already."""
    evaluation: EvaluationStatus | None = None
    """What was measured of it."""


def place_uri(pod: Pod, *folder: str) -> str:
    """The folder of all models of a job of this name, or one in it. Call where `spec.output` is set."""
    if pod.spec.output is None:
        raise ConfigError("spec.output is not set")
    return "/".join((pod.spec.output.uri.rstrip("/"), pod.job, *folder))


def find_place(pod: Pod, open_store: Callable[[str], Store]) -> ModelPlace:
    """Looks for a model that an earlier job of this name has left for the same spec, else for the run's place.

    Raises:
        ConfigError: such a model is there, but it was made by other code behind the same spec, or is damaged, or not
            signed as the job's models are; or the code can't be had.
    """
    if not pod.spec_sha256:  # of a run that an older operator began nobody knows the job's own spec
        return ModelPlace(pod.run)
    models = [*_models(pod, open_store)]
    same_spec = [(store, model) for store, model in models if _answers(model, pod) and not model.is_of(pod)]
    if same_spec:
        return ModelPlace(pod.run, *_take(pod, same_spec))
    answered = any(model.manifest.nonce == pod.nonce for _, model in models if not model.is_of(pod))
    return ModelPlace(pod.run if answered or not pod.nonce else _free_number(pod, open_store))


def _take(pod: Pod, models: Sequence[tuple[Store, Committed]]) -> tuple[ArtifactStatus, EvaluationStatus | None]:
    """The first of these models of the job's spec that its code has made, and that is whole. Code is fetched for it:
    what a branch, a ConfigMap or a URI leads to is no part of a spec.
    """
    code = fetch_code(pod)
    changed, damage = [], []
    for store, model in models:
        if model.manifest.code.sha256 != code.sha256:
            changed.append(f"{store.uri} was made by {_described(model.manifest.code)}")
            continue
        unknown = why_unknown(store, model.manifest, model.data, pod)
        wrong = unknown or committed.what_is_wrong(store, model.manifest.files)
        if not wrong:
            log.info("the model is there already", uri=store.uri, uid=model.manifest.uid, run=model.manifest.run)
            return committed.to_status(store, model, pod), model.manifest.evaluation
        damage.append(f"{store.uri}: {wrong}")
    if damage:
        raise ConfigError(
            f"a model of this very job is there, but it is damaged or not what it says ({damage[0]}); restore it, "
            "delete what is left of it, or set another runPolicy.restartNonce to train again, beside it"
        )
    raise ConfigError(
        f"spec.trainer.source leads to other code than the model of this very job was made by: {changed[0]}, and by "
        f"now it leads to {_described(code)}; set another runPolicy.restartNonce to train with that, beside it, or "
        "bring the old code back"
    )


def _answers(model: Committed, pod: Pod) -> bool:
    """True for a model of the same spec. Without a nonce each will do, with one only a model that has answered it."""
    made = model.manifest
    return made.spec_sha256 == pod.spec_sha256 and pod.nonce in ("", made.nonce)


def _described(code: Code | CodeRecord) -> str:
    """Which code it is, as far as it can be told."""
    if code.sha256 is None:
        return "no source"
    return f"code of SHA-256 {code.sha256[:12]}" + (f" (commit {code.commit[:12]})" if code.commit else "")


def _models(pod: Pod, open_store: Callable[[str], Store]) -> Iterator[tuple[Store, Committed]]:
    """The models of jobs of this name and namespace, the newest place first."""
    folders = open_store(place_uri(pod)).folders()
    numbers = sorted((int(name) for name in folders if name.isdecimal() and len(name) < 10), reverse=True)
    for number in map(str, numbers[:MOST_PLACES]):
        store = open_store(place_uri(pod, number))
        beside = sorted(filter(_BESIDE.fullmatch, store.folders()))
        for each in (store, *(open_store(place_uri(pod, number, folder)) for folder in beside)):
            model = _find(each)
            if model is not None and model.is_of_this_name(pod):
                yield each, model


def _find(store: Store) -> Committed | None:
    """What isn't a manifest is no model; whoever wants that very place is told."""
    try:
        return committed.find(store)
    except ConfigError:
        return None


def _free_number(pod: Pod, open_store: Callable[[str], Store]) -> int:
    number = pod.run
    while _is_taken(open_store(place_uri(pod, str(number))), pod):
        number += 1
    return number


def _is_taken(store: Store, pod: Pod) -> bool:
    """True where a deleted job of this name has left its model, or another run of this one has been at work."""
    model, holder = _find(store), model_claims.holder(store)
    of_another_run = holder is not None and holder.uid == pod.uid and not holder.is_of(pod)
    return of_another_run or (model is not None and model.is_of_this_name(pod) and not model.is_of(pod))
