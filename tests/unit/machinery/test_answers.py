"""What the API server says within a look, beside what the watch shows meanwhile."""

from typing import Any

from footplate.errors import NotFound
from footplate.machinery.answers import Answers
from footplate.machinery.cluster import Cluster
from footplate.policy.plan import Doubt
from unit.policy.build import job, merged, node, pod

JSON = dict[str, Any]
OWNER = {"apiVersion": "footplate.dev/v1alpha1"}


def version(number: int, raw: JSON) -> JSON:
    made = merged(raw, {"metadata": {"resourceVersion": str(number)}})
    for owner in made["metadata"].get("ownerReferences", ()):
        owner |= OWNER
    return made


class Server:
    """Has one object, or none."""

    def __init__(self, has: JSON | None) -> None:
        self.has = has

    async def get(self, *_: Any) -> JSON:
        if self.has is None:
            raise NotFound(404, "NotFound", "not found")
        return self.has


def about(cluster: Cluster, has: JSON | None) -> Answers:
    return Answers(Server(has), cluster, namespace="team")  # type: ignore[arg-type]


def versions(pods: Any) -> list[str]:
    return [each["metadata"]["resourceVersion"] for each in pods]


async def test_an_answer_hides_nothing_that_the_watch_has_shown_since() -> None:
    cluster = Cluster(lambda _: None)
    cluster.pods.apply(version(4, pod(0)), deleted=False)
    answers = about(cluster, version(5, pod(0)))
    await answers.ask([Doubt("Pod", "fashion-1-0-0")])
    assert versions(answers.correct_pods([version(4, pod(0))])) == ["5"]
    assert versions(answers.correct_pods([version(9, pod(0))])) == ["9"]


async def test_so_it_is_of_nodes() -> None:
    answers = about(Cluster(lambda _: None), version(5, node()))
    await answers.ask([Doubt("Node", "node-0")])
    for seen, known in ((4, "5"), (9, "9")):
        assert versions(answers.correct_nodes({"node-0": version(seen, node())}).values()) == [known]


async def test_what_is_gone_is_gone_whatever_a_view_shows() -> None:
    answers = about(Cluster(lambda _: None), None)
    await answers.ask([Doubt("Pod", "fashion-1-0-0")])
    assert answers.correct_pods([version(4, pod(0))]) == []


async def test_a_job_that_was_deleted_unseen_is_found_out() -> None:
    cluster = Cluster(lambda _: None)
    cluster.jobs.apply(version(4, job()), deleted=False)
    await about(cluster, None).ask([Doubt("TrainingJob", "fashion")])
    assert cluster.jobs.get(("team", "fashion")) is None


async def test_one_that_was_created_again_takes_its_place() -> None:
    cluster = Cluster(lambda _: None)
    cluster.jobs.apply(version(4, job()), deleted=False)
    await about(cluster, version(5, job(uid="another"))).ask([Doubt("TrainingJob", "fashion")])
    assert (cluster.jobs.get(("team", "fashion")) or {})["metadata"]["uid"] == "another"


async def test_what_is_made_anew_while_the_answer_is_under_way_stays() -> None:
    """The answer says that the one before is gone."""
    cluster = Cluster(lambda _: None)
    cluster.pods.apply(version(4, pod(0)), deleted=False)
    anew = merged(version(9, pod(0)), {"metadata": {"uid": "anew"}})

    class Slow(Server):
        async def get(self, *_: Any) -> JSON:
            cluster.pods.apply(version(8, pod(0)), deleted=True)
            cluster.pods.apply(anew, deleted=False)
            return await super().get()

    await Answers(Slow(None), cluster, namespace="team").ask([Doubt("Pod", "fashion-1-0-0")])  # type: ignore[arg-type]
    kept = cluster.pods.get(("team", "fashion-1-0-0"))
    assert kept is not None
    assert kept["metadata"]["uid"] == "anew"
