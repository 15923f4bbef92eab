"""Images that aren't there, or not yet."""

from uuid import uuid4

import pytest

from e2e import jobs
from e2e.cluster import TOOLS, helper
from e2e.site import ClusterSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

REGISTRY_PORT = 5055
"""On the loopback address of a node, where containerd asks by plain HTTP."""

AWAY_SECONDS = 60
BRIEF = "print('done', flush=True)"


def test_an_image_that_isnt_there(team: ClusterSite) -> None:
    """It is said, and the nodes are given back; the job isn't over, since somebody may push the image yet."""
    absent = "127.0.0.1:1/footplate/absent:1"
    team.apply(jobs.job("absent", {"image": absent, "command": ["/zero"]}, nodes=2))
    team.until(lambda: jobs.warnings(team, "absent"), lambda told: absent in told, seconds=120)
    team.until(lambda: team.names("pods", "absent"), lambda pods: not pods, seconds=60)
    status = jobs.status(team, "absent")
    assert absent in status["message"], status
    assert status["phase"] != "Failed", status


def test_a_registry_that_is_away_for_a_minute(team: ClusterSite, nodes: tuple[str, str]) -> None:
    arguments = ("registry", "registry.py", str(REGISTRY_PORT), str(AWAY_SECONDS))
    with helper(team.cluster, *arguments, node=nodes[0], host=True):
        team.cluster.kubectl("wait", "pod/registry", "-n", TOOLS, "--for=condition=Ready", "--timeout=60s")
        # A name that no node has pulled yet; the registry has one image, by any name.
        trainer = {"image": f"127.0.0.1:{REGISTRY_PORT}/zero:{uuid4().hex}", "command": ["/zero"]}
        template = {"nodeSelector": {"kubernetes.io/hostname": nodes[0]}}
        team.apply(jobs.job("patient", trainer, podTemplate=template))
        told = team.until(lambda: jobs.status(team, "patient"), lambda seen: "503" in seen.get("message", ""))
        assert told["phase"] != "Failed", told
        status = team.wait("patient", "condition=Finished", seconds=400)
        assert (status["phase"], status["restarts"]["user"]) == ("Succeeded", 0), status["message"]
