"""Jobs on their way to the cluster: what is wrong is said before anything is sent, and else in the server's words."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_site import JOBS, Site
from footplate.api.trainingjob import TrainingJob
from footplate.client import Client, ClientError, JobExists, JobInvalid, JobRefused, NotAllowed
from footplate.client.functions import UnfitFunction
from footplate.devcluster.faults import Fault

JOB: dict[str, Any] = {
    "metadata": {"name": "digits"},
    "spec": {"trainer": {"image": "registry.example.com/trainer:1", "recipe": "image-classification"}},
}
ON_RUNTIME = {
    **JOB,
    "spec": {"trainer": {"recipe": "image-classification"}, "runtimeRef": {"name": "torch"}, "nodes": 4},
}
RUNTIMES = "/apis/footplate.dev/v1alpha1/clustertrainingruntimes"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
RUNTIME = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch"},
    "spec": {"trainer": {"image": "registry.example.com/of-runtime:1"}, "policy": {"maxNodes": 2}},
}


@pytest.fixture
def runtime(site: Site) -> Iterator[None]:
    site.request("POST", RUNTIMES, RUNTIME)
    yield
    site.faults.clear()
    site.request("DELETE", f"{RUNTIMES}/torch")


def jobs(site: Site) -> list[str]:
    site.faults.clear()
    return [each["metadata"]["name"] for each in site.request("GET", JOBS.format("default"))["items"]]


def write(folder: Path, *documents: Any) -> Path:
    path = folder / "job.yaml"
    path.write_text("\n---\n".join(each if isinstance(each, str) else json.dumps(each) for each in documents))
    return path


def test_a_manifest_a_path_and_a_model_are_the_same_job(site: Site, client: Client, tmp_path: Path) -> None:
    made = client.submit(JOB)
    specs = [site.job("digits")["spec"]]
    assert (made.name, made.namespace, made.uid) == ("digits", "default", site.job("digits")["metadata"]["uid"])
    whole = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", **JOB}
    for source in (write(tmp_path, whole), str(write(tmp_path, whole)), TrainingJob.model_validate(JOB, by_name=False)):
        site.delete("digits")
        client.submit(source)
        specs.append(site.job("digits")["spec"])
    assert all(spec == specs[0] for spec in specs)


def test_a_job_goes_where_it_says(site: Site, client: Client) -> None:
    site.request("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    made = client.submit({**JOB, "metadata": {"name": "digits", "namespace": "other"}})
    assert made.namespace == "other"


def test_a_generated_name(site: Site, client: Client) -> None:
    made = client.submit({**JOB, "metadata": {"generateName": "digits-"}})
    assert made.name.startswith("digits-")
    assert jobs(site) == [made.name]


def test_a_dry_run_creates_nothing(site: Site, client: Client) -> None:
    assert client.submit(JOB, dry_run=True).name == "digits"
    assert jobs(site) == []


def test_what_is_wrong_is_said_at_once_and_nothing_is_sent(site: Site, client: Client) -> None:
    wrong = {"metadata": {"name": "digits"}, "spec": {**JOB["spec"], "nodez": 2, "nodes": 0}}
    with pytest.raises(JobInvalid) as caught:
        client.submit(wrong)
    assert [problem.path for problem in caught.value.problems] == ["spec.nodes", "spec.nodez"]
    assert "spec.nodez = 2: unknown field; did you mean nodes?" in str(caught.value)
    assert jobs(site) == []


def test_a_files_mistakes_have_their_lines(client: Client, tmp_path: Path) -> None:
    path = write(
        tmp_path, "apiVersion: footplate.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: a}\nspec:\n  nodes: 0\n"
    )
    with pytest.raises(JobInvalid, match=r"job.yaml:5: document 1, TrainingJob a: spec.nodes = 0: must be at least 1"):
        client.submit(path)


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([], "holds 0 TrainingJobs; name a file with exactly one"),
        ([JOB | {"kind": "TrainingJob"}] * 2, "holds 2 TrainingJobs; name a file with exactly one"),
        (["[1, 2]"], "holds 0 TrainingJobs"),
        (
            [JOB | {"kind": "TrainingJob"}, {"kind": "ConfigMap"}],
            "holds ConfigMap beside the TrainingJob, and only that",
        ),
        (["a: b: c"], "isn't YAML"),
    ],
    ids=["nothing", "two jobs", "a list", "a ConfigMap too", "no YAML"],
)
def test_a_file_that_holds_something_else(client: Client, tmp_path: Path, documents: list[Any], words: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.submit(write(tmp_path, *documents))
    assert words in str(caught.value)


def test_a_file_that_is_not_there(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"missing.yaml doesn't exist"):
        client.submit(tmp_path / "missing.yaml")


@pytest.mark.parametrize("source", [{}, {"kind": "Pod", "metadata": {"name": "a"}}, {"metadata": []}])
def test_what_is_no_job(client: Client, source: Any) -> None:
    with pytest.raises(JobInvalid):
        client.submit(source)


@pytest.mark.parametrize(
    ("phase", "words"),
    [("Running", "and is Running: take another name or metadata.generateName, or cancel it"),
     ("Failed", "and is Failed: take another name or metadata.generateName, or restart it for another run")],
)  # fmt: skip
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_name_that_is_taken(site: Site, client: Client, phase: str, words: str, dry_run: bool) -> None:
    site.create("digits")
    site.say("digits", phase=phase)
    with pytest.raises(JobExists, match=f"TrainingJob 'digits' exists already in namespace default, {words}"):
        client.submit(JOB, dry_run=dry_run)


def test_a_namespace_that_is_not_there(client: Client) -> None:
    with pytest.raises(JobRefused, match="namespace 'nowhere' doesn't exist"):
        client.submit({**JOB, "metadata": {"name": "digits", "namespace": "nowhere"}})


def test_the_api_servers_own_words(site: Site, client: Client) -> None:
    site.faults.add(Fault(status=422), method="POST", path="trainingjobs")
    with pytest.raises(JobRefused, match="the API server refuses TrainingJob 'digits': "):
        client.submit(JOB)


@pytest.mark.usefixtures("runtime")
def test_the_runtimes_policy_is_held_against_the_job(site: Site, client: Client) -> None:
    with pytest.raises(JobInvalid, match=r"spec.nodes = 4: "):
        client.submit(ON_RUNTIME)
    assert client.submit({**ON_RUNTIME, "spec": {**ON_RUNTIME["spec"], "nodes": 2}}).name == "digits"


@pytest.mark.usefixtures("runtime")
def test_a_runtime_that_is_not_there_has_a_neighbour(client: Client) -> None:
    wrong = {**ON_RUNTIME, "spec": {**ON_RUNTIME["spec"], "runtimeRef": {"name": "torhc"}}}
    with pytest.raises(JobInvalid, match=r"there is no ClusterTrainingRuntime of this name; did you mean torch\?"):
        client.submit(wrong)


@pytest.mark.usefixtures("runtime")
def test_a_runtime_that_may_not_be_read_keeps_nobody_from_submitting(site: Site, client: Client) -> None:
    site.faults.add(Fault(status=403), path="clustertrainingruntimes")
    with pytest.raises(NotAllowed, match="you may not get clustertrainingruntimes"):
        client.plan(ON_RUNTIME)
    assert client.submit(ON_RUNTIME).name == "digits"


@pytest.mark.usefixtures("runtime")
def test_a_plan_and_its_objects_are_over_the_runtime(site: Site, client: Client) -> None:
    two = {**ON_RUNTIME, "spec": {**ON_RUNTIME["spec"], "nodes": 2}}
    plan = client.plan(two)
    assert (plan.image, plan.runtime) == ("registry.example.com/of-runtime:1", "ClusterTrainingRuntime torch")
    assert [each["kind"] for each in client.render(two)] == ["ConfigMap", "Service", "Pod", "Pod"]
    assert jobs(site) == []


def test_a_plan_says_that_quotas_may_not_be_read(site: Site, client: Client) -> None:
    site.faults.add(Fault(status=403), path="resourcequotas")
    assert "you may not list resourcequotas" in client.plan(JOB).notes[-1]


def train(epochs: int, rate: float = 0.1) -> None:
    print(epochs, rate)


def functions(site: Site) -> list[dict[str, Any]]:
    items = site.request("GET", CONFIG_MAPS)["items"]
    return [each for each in items if each["metadata"]["name"].startswith("digits-code-")]


@pytest.fixture
def code(site: Site) -> Iterator[None]:
    yield
    site.faults.clear()
    for each in functions(site):
        site.request("DELETE", f"{CONFIG_MAPS}/{each['metadata']['name']}")


@pytest.mark.usefixtures("code")
def test_a_function_becomes_a_job_with_its_code(site: Site, client: Client) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = client.submit_function(
            train, name="digits", args={"epochs": 3}, nodes=2, packages=["einops==0.8"], image="trainer:1",
            resources={"limits": {"nvidia.com/gpu": 1}}, spec={"output": {"uri": "s3://models/"}},
        )  # fmt: skip
    [code] = functions(site)
    spec = site.job("digits")["spec"]
    assert spec["trainer"]["source"] == {"configMap": {"name": code["metadata"]["name"]}}
    assert (spec["trainer"]["entrypoint"], spec["trainer"]["hyperparameters"]) == ("function.py", {"epochs": 3})
    assert (spec["trainer"]["requirements"], spec["trainer"]["image"]) == (["einops==0.8"], "trainer:1")
    assert (spec["nodes"], spec["resources"]["limits"], spec["output"]["uri"]) == (
        2,
        {"nvidia.com/gpu": 1},
        "s3://models/",
    )
    assert code["data"]["function.py"].startswith("\n\ndef train(epochs: int")
    [owner] = code["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("TrainingJob", "digits", made.uid)


@pytest.mark.usefixtures("code")
def test_a_function_whose_job_is_not_taken_leaves_nothing(site: Site, client: Client) -> None:
    site.create("digits")
    with pytest.raises(JobExists):
        client.submit_function(train, name="digits", args={"epochs": 3}, image="trainer:1")
    with pytest.raises(JobInvalid, match=r"trainer.image is required"):
        client.submit_function(train, name="digits", args={"epochs": 3})
    with pytest.raises(UnfitFunction, match="missing a required argument: 'epochs'"):
        client.submit_function(train, name="digits", image="trainer:1")
    assert functions(site) == []


@pytest.mark.usefixtures("code")
def test_a_function_in_a_dry_run(site: Site, client: Client) -> None:
    client.submit_function(train, name="digits", args={"epochs": 3}, image="trainer:1", dry_run=True)
    assert (jobs(site), functions(site)) == ([], [])


@pytest.mark.usefixtures("code")
def test_code_that_cannot_be_given_to_its_job_is_told(site: Site, client: Client) -> None:
    site.faults.add(Fault(status=403), method="PATCH", path="configmaps")
    with pytest.warns(UserWarning, match="which holds the function, stays when the job is deleted: you may not"):
        client.submit_function(train, name="digits", args={"epochs": 3}, image="trainer:1")


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"trainer": {"entrypoint": "x"}}, "trainer.entrypoint"),
     ({"trainer": {"hyperparameters": {}}}, "trainer.hyperpar"),
     ({"trainer": {"image": "b"}}, "trainer.image"), ({"nodes": 4}, "nodes"), ({"resources": {}}, "resources")],
)  # fmt: skip
def test_what_an_argument_says_is_said_once(client: Client, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ClientError, match=rf"^spec\.{field}\w*: the function or another argument says that"):
        client.submit_function(train, name="digits", args={"epochs": 3}, image="a", spec=spec)


def test_a_trainer_that_is_no_object(client: Client) -> None:
    with pytest.raises(ClientError, match="must be an object"):
        client.submit_function(train, name="digits", args={"epochs": 3}, spec={"trainer": "x"})
