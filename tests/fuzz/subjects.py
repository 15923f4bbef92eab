"""What takes hostile objects: the operator's decisions, the client, the page; and what must hold of what they do."""

import json
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from rich.console import Console

from footplate.api.crd import KINDS, build_crd
from footplate.api.status import TrainingJobStatus
from footplate.cli.job_table import job_rows
from footplate.cli.screen import View, job_screen
from footplate.client import Job
from footplate.client.cluster import view_cluster
from footplate.client.events import view_events
from footplate.client.history import of_status
from footplate.client.html import job_html
from footplate.client.ranks import view_ranks
from footplate.client.redaction import redact_job, redact_object
from footplate.client.rendering import render
from footplate.client.status import read_status as read_for_client
from footplate.client.why import explain
from footplate.errors import FootplateError
from footplate.machinery.poller import target_of
from footplate.machinery.slim import slim_job, slim_pod, weigh
from footplate.manifests.documents import Document
from footplate.manifests.validation import judge
from footplate.objects import Object
from footplate.policy.plan import Observed, Plan
from footplate.policy.reconcile import reconcile
from footplate.tokens import PodTokens
from footplate.ui.jobs_view import make_row
from fuzz.grammar import TEXTS, Grammar, hostile, mutated
from unit.policy.build import NOW, UID, at, config_map, job, node, pod, runtime, status
from unit.policy.test_fuzz import FULL_STATUS, LOUD_POD, RUNTIME, SPEC

JOB_KIND = next(kind for kind in KINDS if kind.plural == "trainingjobs")
SCHEMA = build_crd(JOB_KIND)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
GRAMMAR = Grammar(SCHEMA)
NODES = {"node-0": node(), "node-1": node("node-1", ready="False")}
MAX_STATUS_BYTES = 256 * 1024
ROUNDS = 6
TOKENS = PodTokens(b"k" * 32)
KINDS_MADE = {"ConfigMap", "Service", "Pod"}


class Escaped(AssertionError):
    """A write that isn't the job's own business."""


def check(plan: Plan) -> None:
    """Whatever was observed: what is written is the job's own, bounded, and JSON."""
    for made in plan.create:
        metadata = made["metadata"]
        [owner] = metadata["ownerReferences"]
        own = (metadata["namespace"], owner["uid"], owner["kind"], owner["controller"])
        if own != ("team", UID, "TrainingJob", True) or made["kind"] not in KINDS_MADE:
            raise Escaped(f"creates {made['kind']} {metadata}")
        if not metadata["name"].startswith("fashion-"):
            raise Escaped(f"creates a {made['kind']} of the name {metadata['name']!r}")
    for target in plan.delete:
        if target.namespace != "team" or target.kind not in {*KINDS_MADE, "TrainingJob"}:
            raise Escaped(f"deletes {target}")
    for event in plan.events:
        if len(event.message.encode()) > 1024 or any(each < " " for each in event.message):
            raise Escaped(f"tells {event.message[:200]!r}")
    json.dumps([*plan.create], allow_nan=False).encode()
    if plan.status is not None:
        if len(json.dumps(plan.status, allow_nan=False).encode()) > MAX_STATUS_BYTES:
            raise Escaped("a status of more than 256 KiB")
        TrainingJobStatus.model_validate(plan.status, extra="ignore")


def live(of: Object, *, runtime_: Object | None = None) -> tuple[int, int]:
    """The first looks at a job, as a worker and an API server without a schema would have them: how many pods were
    made, and how many looks it took.
    """
    stored: dict[tuple[str, str], Any] = {}
    now: Any = slim_job(of)
    for looked in range(ROUNDS):
        pods = [found for (kind, _), found in stored.items() if kind == "Pod"]
        config = next((found for (kind, _), found in stored.items() if kind == "ConfigMap"), None)
        plan = reconcile(Observed(now, pods, nodes=NODES, run_config=config, runtime=runtime_, tokens=TOKENS), now=NOW)
        check(plan)
        if not plan.create and plan.status is None:
            return len(pods), looked
        for made in plan.create:
            held = json.loads(json.dumps(made))
            stored[made["kind"], made["metadata"]["name"]] = slim_pod(held) if made["kind"] == "Pod" else held
        if plan.status is not None:
            now = slim_job({**now, "status": plan.status})
    return len([key for key in stored if key[0] == "Pod"]), ROUNDS


def show(of: Object, pods: Sequence[Object] = (), events: Sequence[Object] = ()) -> None:
    """All that the client and the page make of a job: text that no terminal obeys, or an error of ours."""
    read, told = Job(cast(Any, None), of), view_events(events)
    known = read_for_client(of)
    ranks = view_ranks(of, known, pods)
    why = explain(of, known, told, now=NOW)
    picture = View(read, known.progress, of_status(known.progress and known.progress.history), ranks, told, NOW)
    console = Console(width=100, force_terminal=False, record=True, file=_Nowhere())
    console.print(job_screen(picture, width=100))
    texts = [console.export_text(), why.headline, *why.facts, *why.way_out]
    texts += [
        cell for wide in (True, False) for row in job_rows([read], now=NOW, wide=wide, namespaces=True) for cell in row
    ]
    for text in texts:
        if "\x1b" in text or "\x07" in text or "\x9b" in text or "\r" in text:
            raise Escaped(f"shows {text[:200]!r}")
    if "<script>" in job_html("fashion", "team", known):
        raise Escaped("a script in a page")
    make_row(read, now=NOW)
    view_cluster([of], pods, [*NODES.values()], whole=True)
    json.dumps([redact_job(of), [redact_object(each) for each in pods]])


class _Nowhere:
    def write(self, _: str) -> int:
        return 0

    def flush(self) -> None:
        """Nothing is kept."""


def manifest(rng: random.Random) -> str:
    """One manifest, from the file to the pods; answers what became of it."""
    kind = rng.random()
    spec: Any = job()["spec"]
    if kind < 0.4:  # a sound job, with a few sound fields more
        spec = {**spec, **dict(GRAMMAR.field(rng) for _ in range(rng.randrange(3)))}
        spec.setdefault("trainer", {}).setdefault("image", "registry.example.com/x:1")
    elif kind < 0.6:
        spec = GRAMMAR.spec(rng)
    elif kind < 0.9:
        spec = mutated(rng.choice((SPEC, GRAMMAR.spec(rng))), rng)
    else:
        spec = hostile(rng)
    of = {**job(), "spec": spec}
    if rng.random() < 0.1:
        labels = {rng.choice(TEXTS): hostile(rng)}
        of = {**of, "metadata": {**of["metadata"], "labels": labels, "annotations": hostile(rng)}}
    blueprint = mutated(RUNTIME, rng) if rng.random() < 0.3 else runtime()
    weigh(of)
    judge([Document("x.yaml", 1, of)])
    with suppress(FootplateError):
        render(of, blueprint)
    made, _ = live(of, runtime_=blueprint)
    show(of)
    return "pods made" if made else "refused"


def sent(raw: Any) -> Any:
    """As an API server's answer can hold it: JSON has no NaN and no infinity."""
    return json.loads(json.dumps(raw), parse_constant=lambda _: None)


def any_status(rng: random.Random) -> str:
    """A status that somebody else wrote."""
    base = (
        FULL_STATUS if rng.random() < 0.7 else status(job(), rng.choice(("Queued", "Succeeded", "Failed", "Pending")))
    )
    raw = sent(mutated(base, rng) if rng.random() < 0.9 else hostile(rng))
    of = slim_job({**job(), "status": raw})
    found = config_map(job()) if rng.random() < 0.8 else None
    plan = reconcile(Observed(of, (pod(0), pod(1)), nodes=NODES, run_config=found, tokens=TOKENS), now=NOW)
    check(plan)
    show({**job(), "status": raw}, [pod(0)], [mutated(EVENT, rng)])
    return "left alone" if plan.left_alone else "read"


EVENT = {
    "type": "Warning", "reason": "Failed", "message": "m", "count": 3, "firstTimestamp": at(-5), "lastTimestamp": at(),
    "involvedObject": {"kind": "TrainingJob"}, "metadata": {"name": "e", "namespace": "team"},
}  # fmt: skip


def any_pod(rng: random.Random) -> str:
    """A pod that anybody may have made, or a kubelet has reported on."""
    raw = mutated(rng.choice((LOUD_POD, pod(1), pod(1, phase="Failed"))), rng, most=6)
    if isinstance(raw, dict) and isinstance(raw.get("metadata"), dict):  # what every object of the API server has
        raw["metadata"].update({"name": rng.choice(("fashion-1-0-1", "other", "fashion-1-0-1-x")), "namespace": "team"})
        if rng.random() < 0.3:
            raw["metadata"]["ownerReferences"] = [{"kind": "TrainingJob", "uid": "another", "controller": True}]
    else:
        return "no object"
    kept = slim_pod(raw)
    phase = rng.choice(("Running", "Queued", "Suspending", "Failed", "Succeeded"))
    of = {**job(), "status": status(job(), phase)}
    pods = [pod(0), *([kept] if kept is not None else [])]
    check(reconcile(Observed(of, pods, nodes=NODES, run_config=config_map(job()), tokens=TOKENS), now=NOW))
    target_of(of, lambda _: kept)
    show(of, [pod(0), raw])
    return "kept" if kept is not None else "not kept"
