"""The boundary on a real API server: each attempt to get around a TrainingPolicy is refused by the operator alone, and
at admission, in its words, by the ValidatingAdmissionPolicies that the chart brings.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from boundary_cases import (
    ATTEMPTS,
    EDITS,
    GPU,
    HONEST,
    NAMESPACE,
    PLATFORM,
    POLICY,
    REQUIRED,
    STRICT,
    TENANT,
    Attempt,
    Edit,
    objects_of,
    only,
    with_,
)
from footplate.api.trainingjob import TrainingJobSpec
from footplate.devcluster.client import MERGE, ApiClient
from footplate.errors import AlreadyExists, ApiError, NotFound
from footplate.machinery.settings import OperatorSettings
from footplate.operator import run_operator
from footplate.policy import boundary
from footplate.policy.plan import Observed
from realcluster.controlplane import Cluster, ControlPlane
from realcluster.planes import plane_with_crds

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(300)]

ADMISSION = Path(__file__).parents[2] / "helm/footplate/files/admission.yaml"
GROUP = "/apis/footplate.dev/v1alpha1"
API = "footplate.dev/v1alpha1"
PATIENCE_SECONDS = 60.0

Json = dict[str, Any]
T = TypeVar("T")


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane of this module's own: what it installs refuses everybody's jobs."""
    with plane_with_crds() as plane:
        labels = {NAMESPACE: TENANT, "probe": {"probe": "true"}}
        for name, given in labels.items():
            head = {"apiVersion": "v1", "kind": "Namespace"}
            plane.kubectl("apply", "-f", "-", stdin={**head, "metadata": {"name": name, "labels": given}})
        batch = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "batch-low"}}
        plane.kubectl("apply", "-f", "-", stdin={**batch, "value": 0})
        yield plane


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator["Api"]:
    async with ApiClient(json.loads(plane.kubeconfig_path.read_text())) as client:
        api = Api(client)
        yield api
        await api.clear()


class Api:
    """What a test does with the API server, as admin."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self._probes = count()

    def path(self, kind: str, name: str = "", *, namespace: str = NAMESPACE) -> str:
        plural = {"TrainingPolicy": "trainingpolicies"}.get(kind, f"{kind.lower()}s")
        inside = "" if kind in ("TrainingPolicy", "ClusterTrainingRuntime") else f"/namespaces/{namespace}"
        return f"{GROUP}{inside}/{plural}" + (f"/{name}" if name else "")

    async def create(self, kind: str, name: str, spec: Mapping[str, Any], *, dry: bool = False, **more: Any) -> Json:
        body = {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
        query = {"dryRun": "All"} if dry else {}
        return await self.client.request("POST", self.path(kind, **more), body, **query)

    async def refusal(self, kind: str, name: str, spec: Mapping[str, Any]) -> str:
        """With which words it is refused; empty where it would be taken."""
        try:
            await self.create(kind, name, spec, dry=True)
        except ApiError as error:
            return str(error)
        return ""

    async def edit_refusal(self, name: str, spec: Mapping[str, Any]) -> str:
        job = await self.get("TrainingJob", name)
        try:
            await self.client.request("PUT", self.path("TrainingJob", name), {**job, "spec": dict(spec)}, dryRun="All")
        except ApiError as error:
            return str(error)
        return ""

    async def get(self, kind: str, name: str, **more: Any) -> Json:
        return await self.client.request("GET", self.path(kind, name, **more))

    async def patch(self, name: str, spec: Mapping[str, Any]) -> None:
        await self.client.request("PATCH", self.path("TrainingJob", name), {"spec": spec}, kind=MERGE)

    async def pods(self) -> list[Json]:
        return list((await self.client.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods"))["items"])

    async def clear(self) -> None:
        """No jobs, runtimes and policies are left, nor pods."""
        for namespace in (NAMESPACE, "probe"):
            for kind in ("TrainingJob", "TrainingRuntime", "ClusterTrainingRuntime", "TrainingPolicy"):
                await self.client.request("DELETE", self.path(kind, namespace=namespace))
            for kind in ("pods", "services", "configmaps"):
                query = {"gracePeriodSeconds": 0, "labelSelector": "footplate.dev/job"}
                items = await self.client.request("GET", f"/api/v1/namespaces/{namespace}/{kind}", **query)
                for each in items["items"]:
                    name = each["metadata"]["name"]
                    await gone(self.client.request("DELETE", f"/api/v1/namespaces/{namespace}/{kind}/{name}", **query))

    async def rule(self, policies: Mapping[str, Json]) -> None:
        """These policies are there, and no others."""
        await self.client.request("DELETE", self.path("TrainingPolicy"))
        for name, spec in policies.items():
            await self.create("TrainingPolicy", name, spec)

    async def rule_operator(self, policies: Mapping[str, Json]) -> None:
        """The same, once the operator has seen it: it refuses by a policy that was written after these."""
        await self.rule(policies)
        probe = f"probe-{next(self._probes)}"
        selector = {"matchLabels": {"probe": "true"}}
        await self.create("TrainingPolicy", probe, {"namespaceSelector": selector, "imagePrefixes": [f"{probe}/"]})
        for number in count():
            name = f"{probe}-{number}"
            await self.create("TrainingJob", name, HONEST, namespace="probe")
            status = await until(lambda name=name: self.status(name, namespace="probe"), lambda it: it.get("reason"))
            await self.client.request("DELETE", self.path("TrainingJob", name, namespace="probe"))
            if probe in status["message"]:
                return

    async def status(self, name: str, **more: Any) -> Json:
        return dict((await self.get("TrainingJob", name, **more)).get("status") or {})


async def gone(request: Awaitable[Any]) -> None:
    try:
        await request
    except NotFound:
        return


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], object]) -> T:
    """What is seen once it holds; the error shows what was seen last."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not holds(seen := await look()):
        assert asyncio.get_running_loop().time() < deadline, f"after {PATIENCE_SECONDS} s still {seen}"
        await asyncio.sleep(0.05)
    return seen


def groups(attempts: Sequence[Attempt]) -> list[list[Attempt]]:
    """Attempts under the same policies and with the same runtime."""
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        reference = attempt.spec.get("runtimeRef") if attempt.runtime is not None else None
        key = json.dumps([attempt.policies, attempt.runtime, reference], sort_keys=True)
        found.setdefault(key, []).append(attempt)
    return [*found.values()]


@asynccontextmanager
async def operator(plane: Cluster) -> AsyncIterator[None]:
    """Runs in this process, with all rights."""
    settings = OperatorSettings(
        kubeconfig=str(plane.kubeconfig_path), host="127.0.0.1", port=0, leader_election=False, poll_interval=60
    )
    running = asyncio.create_task(run_operator(settings))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def label(api: Api, attempt: Attempt) -> None:
    """Gives the namespace the labels that the attempt is made under."""
    labels = {key: attempt.labels.get(key) for key in TENANT}
    await api.client.request("PATCH", f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"labels": labels}}, kind=MERGE)


async def try_group(api: Api, attempts: Sequence[Attempt]) -> None:
    """Creates the jobs, and then their runtime: none is judged by one that was there before."""
    await label(api, attempts[0])
    await api.rule_operator(attempts[0].policies)
    await asyncio.gather(*(create_before_runtime(api, attempt) for attempt in attempts))
    if (runtime := attempts[0].runtime) is not None:
        reference = attempts[0].spec["runtimeRef"]
        await api.create(reference.get("kind", "ClusterTrainingRuntime"), reference["name"], runtime)
    for attempt in attempts:
        refused = ("PolicyRefuses",)
        status = await until(
            lambda name=attempt.name: api.status(name), lambda it: it.get("reason") not in (None, "RuntimeNotFound")
        )
        assert status["reason"] in refused, (attempt.id, status)
        assert attempt.problem in status["message"], attempt.id
    assert [pod["metadata"]["name"] for pod in await api.pods()] == []
    await api.clear()


async def create_before_runtime(api: Api, attempt: Attempt) -> None:
    while True:
        try:
            await api.create("TrainingJob", attempt.name, attempt.spec)
        except AlreadyExists:
            await asyncio.sleep(0.05)
            continue
        if attempt.runtime is None:
            return
        status = await until(lambda: api.status(attempt.name), lambda it: it.get("reason"))
        if status["reason"] == "RuntimeNotFound":
            return
        await api.client.request("DELETE", api.path("TrainingJob", attempt.name))


SEEN_BY_POLICIES = [attempt for attempt in ATTEMPTS if not attempt.of_the_api]


async def test_the_operator_alone_refuses_every_attempt(plane: ControlPlane, api: Api) -> None:
    async with operator(plane):
        for attempts in groups(SEEN_BY_POLICIES):
            await try_group(api, attempts)


@pytest.mark.parametrize("attempt", [each for each in ATTEMPTS if each.of_the_api], ids=lambda attempt: attempt.id)
async def test_the_api_itself_refuses_some(api: Api, attempt: Attempt) -> None:
    kind, spec = ("TrainingJob", attempt.spec) if attempt.runtime is None else ("TrainingRuntime", attempt.runtime)
    refused = await api.refusal(kind, attempt.name, spec)
    assert attempt.problem in refused or "unknown field" in refused or "Invalid value" in refused, refused


async def test_the_operator_alone_lets_the_honest_through(plane: ControlPlane, api: Api) -> None:
    async with operator(plane):
        await api.rule_operator({POLICY: STRICT})
        await api.create("TrainingJob", "honest", HONEST)
        await api.create("ClusterTrainingRuntime", "torch", PLATFORM)
        spec = {"runtimeRef": {"name": "torch"}, "trainer": {"command": ["true"]}}
        await api.create("TrainingJob", "of-the-platform", spec)
        for name in ("honest", "of-the-platform"):
            status = await until(lambda name=name: api.status(name), lambda it: it.get("nodes"))
            assert status["reason"] != "PolicyRefuses", status


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.id)
async def test_the_operator_alone_refuses_every_edit(plane: ControlPlane, api: Api, edit: Edit) -> None:
    async with operator(plane):
        await api.rule_operator({POLICY: STRICT})
        await api.create("TrainingJob", "living", edit.before)
        suspended = edit.before.get("runPolicy", {}).get("suspend")
        begun = await until(lambda: api.status("living"), lambda it: it.get("phase") in ("Suspended", "Queued"))
        if edit.begins_a_run:
            await end_pods(api)
            begun = await until(lambda: api.status("living"), lambda it: it.get("phase") == "Succeeded")
        await api.rule_operator(edit.policies)
        await api.patch("living", edit.after)
        status = await until(lambda: api.status("living"), lambda it: edit.problem in json.dumps(it))
        if edit.begins_a_run:
            assert (status["reason"], status["attempts"]) == ("PolicyRefuses", [])
        else:
            assert status["phase"] == ("Suspended" if suspended else begun["phase"])
            assert len(status["attempts"]) == len(begun["attempts"])
            assert [each["type"] for each in status["conditions"] if each["reason"] == "EditRefused"] == [
                "EditsRefused"
            ]


async def end_pods(api: Api) -> None:
    """As a kubelet would say it."""
    ended = {"name": "trainer", "ready": False, "restartCount": 0, "image": "", "imageID": "",
             "state": {"terminated": {"exitCode": 0}}}  # fmt: skip
    for pod in await until(api.pods, lambda pods: len(pods) == 2):
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/status"
        await api.client.request(
            "PATCH", path, {"status": {"phase": "Succeeded", "containerStatuses": [ended]}}, kind=MERGE
        )


@pytest.fixture(scope="module")
def guarded(plane: ControlPlane) -> ControlPlane:
    """With the admission policies, once they are at work."""
    plane.kubectl("apply", "-f", str(ADMISSION))
    return plane


def words_of(attempt: Attempt, raw: Mapping[str, Any]) -> list[str]:
    """What the operator says of the raw job alone, or of the runtime alone that its tenant writes."""
    policies = objects_of(attempt.policies)
    written = {key: value for key, value in raw.items() if key != "policy"}
    spec = TrainingJobSpec.model_validate({"runtimeRef": {"name": "any"}, **written}, by_name=False)
    job = {"metadata": {"namespace": NAMESPACE}, "spec": written}
    return [str(problem) for problem in boundary.refused(Observed(job, policies=policies), spec)]


@pytest.mark.parametrize("attempt", SEEN_BY_POLICIES, ids=lambda attempt: attempt.id)
async def test_admission_refuses_what_it_can_see(guarded: ControlPlane, api: Api, attempt: Attempt) -> None:
    await label(api, attempt)
    await api.rule(attempt.policies)
    kind, name, spec = "TrainingJob", attempt.name, attempt.spec
    is_own = spec.get("runtimeRef", {}).get("kind") == "TrainingRuntime"
    if is_own and attempt.runtime is not None and not any(attempt.problem in each for each in words_of(attempt, spec)):
        kind, spec = "TrainingRuntime", attempt.runtime  # it is the runtime that goes too far
    if attempt.unseen:
        await at_work(api, attempt.policies)
        assert await api.refusal(kind, name, spec) == ""
        return
    refused = await until(lambda: api.refusal(kind, name, spec), lambda it: attempt.problem in it)
    if "contradict" not in attempt.id:
        assert any(words in refused for words in words_of(attempt, spec)), (refused, words_of(attempt, spec))


async def at_work(api: Api, policies: Mapping[str, Json]) -> None:
    """Until these policies refuse what they must."""
    [name] = policies
    evil = with_("trainer/image", "evil.net/x", base=with_("nodes", 10_000))
    await until(lambda: api.refusal("TrainingJob", "evil", evil), lambda it: f"TrainingPolicy {name} allows" in it)


async def test_admission_lets_the_honest_through(guarded: ControlPlane, api: Api) -> None:
    await api.rule({POLICY: STRICT})
    await at_work(api, {POLICY: STRICT})
    assert await api.refusal("TrainingJob", "honest", HONEST) == ""
    assert await api.refusal("ClusterTrainingRuntime", "torch", PLATFORM) == ""
    spec = {"runtimeRef": {"name": "torch"}, "trainer": {"command": ["true"]}}
    assert await api.refusal("TrainingJob", "of-the-platform", spec) == ""


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.id)
async def test_admission_refuses_every_edit(guarded: ControlPlane, api: Api, edit: Edit) -> None:
    await until(lambda: api.refusal("TrainingJob", "living", edit.before), lambda it: not it)
    await api.create("TrainingJob", "living", edit.before)
    await api.rule(edit.policies)
    refused = await until(lambda: api.edit_refusal("living", edit.after), lambda it: edit.problem in it)
    assert "TrainingPolicy tenants" in refused


async def test_a_job_that_is_refused_by_now_can_be_stopped_and_taken_away(guarded: ControlPlane, api: Api) -> None:
    await until(lambda: api.refusal("TrainingJob", "living", HONEST), lambda it: not it)
    await api.create("TrainingJob", "living", HONEST)
    path = api.path("TrainingJob", "living")
    await api.rule(only(imagePrefixes=["registry.example.com/other/"]))
    await until(lambda: api.edit_refusal("living", with_("runPolicy/maxRestarts", 9)), lambda it: "isn't among" in it)
    assert await api.edit_refusal("living", with_("runPolicy/suspend", True)) == ""
    for metadata in ({"finalizers": ["example.com/a"]}, {"labels": {"a": "b"}}, {"finalizers": None}):
        await api.client.request("PATCH", path, {"metadata": metadata}, kind=MERGE)
    await api.client.request("DELETE", path)
    with pytest.raises(NotFound):
        await api.get("TrainingJob", "living")


async def test_scaling_is_held(guarded: ControlPlane, api: Api) -> None:
    elastic = {**with_("resources", {"limits": {GPU: 1}}), "elastic": {"minNodes": 1, "maxNodes": 4}}
    await until(lambda: api.refusal("TrainingJob", "elastic", elastic), lambda it: not it)
    await api.create("TrainingJob", "elastic", elastic)
    await api.rule(only(maxNodes=3))

    async def scale(nodes: int) -> str:
        try:
            body = {"spec": {"replicas": nodes}}
            await api.client.request("PATCH", api.path("TrainingJob", "elastic/scale"), body, kind=MERGE, dryRun="All")
        except ApiError as error:
            return str(error)
        return ""

    refused = await until(lambda: scale(4), lambda it: it)
    assert "spec.nodes = 4: is more than the 3 nodes that TrainingPolicy tenants allows namespace team" in refused
    assert await scale(3) == ""


async def test_using_a_cluster_runtime_is_a_right(guarded: ControlPlane, api: Api, tmp_path: Path) -> None:
    spec = {"runtimeRef": {"name": "torch"}, "trainer": {"command": ["true"]}}
    job = {"apiVersion": API, "kind": "TrainingJob", "metadata": {"name": "of-torch", "namespace": NAMESPACE}}
    edits = {"apiGroups": ["footplate.dev"], "resources": ["trainingjobs"], "verbs": ["*"]}
    uses = {
        "apiGroups": ["footplate.dev"],
        "resources": ["clustertrainingruntimes"],
        "resourceNames": ["torch"],
        "verbs": ["get", "use"],
    }
    may = Cluster(guarded.service_account("may", folder=tmp_path, rules=[edits, uses]))
    may_not = Cluster(guarded.service_account("may-not", folder=tmp_path, rules=[edits]))
    await api.rule(only(runtimes={"useNeedsRights": True}))

    async def create(user: Cluster) -> str:
        manifest = {**job, "spec": spec}
        done = await asyncio.to_thread(
            user.kubectl, "create", "--dry-run=server", "-f", "-", stdin=manifest, check=False
        )
        return done.stderr

    refused = await until(lambda: create(may_not), lambda it: it)
    assert (
        'spec.runtimeRef = "ClusterTrainingRuntime/torch": isn\'t yours to use: TrainingPolicy tenants asks' in refused
    )
    assert await create(may) == ""


async def test_where_there_is_no_policy_nothing_is_refused(guarded: ControlPlane, api: Api) -> None:
    await until(lambda: api.refusal("TrainingJob", "any", with_("trainer/image", "evil.net/x")), lambda it: not it)


MANY = 64
"""As many entries as a list of a policy may have."""


def largest_policy() -> Json:
    """Each list full, and none of its entries allows anything early."""
    far = "x" * 200

    def names() -> list[str]:
        return [*(f"{far}-{number}-*" for number in range(MANY - 1)), "*"]

    def prefixes(scheme: str, last: str) -> list[str]:
        return [*(f"{scheme}{far}-{number}/{far}" for number in range(MANY - 1)), last]

    return {
        "namespaceSelector": {"matchExpressions": [
            {"key": f"key-{number}", "operator": "NotIn", "values": [f"v{value}" for value in range(64)]}
            for number in range(16)
        ]},
        "imagePrefixes": prefixes("", "registry.example.com/"),
        "uriPrefixes": prefixes("s3://", "s3://data/"),
        "gitPrefixes": prefixes("https://", "https://git.example.com/"),
        "endpointPrefixes": prefixes("https://", "https://minio.example.com"),
        "trackerPrefixes": prefixes("https://", "https://mlflow.example.com"),
        "pip": {"indexes": [f"https://{far}-{number}/" for number in range(16)]},
        "maxNodes": 10_000,
        "maxAccelerators": {f"example.com/gpu-{number}": 1_000_000 for number in range(32)},
        **{field: names() for field in ("secrets", "serviceAccounts", "priorityClasses", "csiDrivers")},
        "tolerations": [*({"key": f"k{number}", "value": "v"} for number in range(MANY - 1)), {"key": "last"}],
        "nodeLabels": [*(f"{'n' * 60}{number}" for number in range(MANY - 1)), "last"],
        "podAnnotations": [*(f"{'a' * 200}.com/{number}-*" for number in range(MANY - 1)), "*"],
        "podLabels": [*(f"{'a' * 200}.com/{number}-*" for number in range(MANY - 1)), "*"],
    }  # fmt: skip


def largest_job() -> Json:
    """Each list that is ruled over full, within what a spec may weigh."""
    long = "d" * 200
    requirement = {"key": "last", "operator": "In", "values": ["v"]}
    terms = [{"matchExpressions": [requirement] * 16} for _ in range(16)]
    return {
        "trainer": {
            "image": f"registry.example.com/{long}:1",
            "command": ["true"],
            "requirements": [f"package-{number}=={'1' * 100}" for number in range(256)],
            "env": [
                {"name": f"SECRET_{number}", "valueFrom": {"secretKeyRef": {"name": f"{long}-{number}", "key": "k"}}}
                for number in range(128)
            ],
            "envFrom": [{"secretRef": {"name": f"{long}-{number}"}} for number in range(32)],
        },
        "nodes": 100,
        "resources": {"limits": {f"example.com/gpu-{number}": 8 for number in range(32)}},
        "inputs": [
            {"name": f"in-{number}", "uri": f"s3://data/{long}/{number}/", "secretRef": {"name": f"{long}-{number}"}}
            for number in range(32)
        ],
        "podTemplate": {
            "tolerations": [{"key": "last", "operator": "Exists"} for _ in range(64)],
            "nodeSelector": {"last": "v"},
            "affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}},
            "annotations": {f"{'b' * 100}.com/{number}": "v" for number in range(64)},
            "labels": {f"{'b' * 100}.com/{number}": "v" for number in range(64)},
            "imagePullSecrets": [{"name": f"{long}-{number}"} for number in range(16)],
            "volumes": [{"name": f"v{number}", "secret": {"secretName": f"{long}-{number}"}} for number in range(32)],
        },
    }


async def test_the_largest_job_under_the_largest_policy_is_within_the_budget(guarded: ControlPlane, api: Api) -> None:
    """A job that honest people can write isn't refused for what it costs to judge it."""
    await api.rule({POLICY: largest_policy()})
    evil = {**largest_job(), "trainer": {**largest_job()["trainer"], "image": "evil.net/x"}}
    refused = await until(lambda: api.refusal("TrainingJob", "evil", evil), lambda it: it)
    assert 'spec.trainer.image = "evil.net/x": isn\'t among the images' in refused
    assert "budget" not in refused
    assert await api.refusal("TrainingJob", "largest", largest_job()) == ""
