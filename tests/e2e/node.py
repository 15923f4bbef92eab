"""What goes wrong on a node: done from a privileged pod there, so that it needs no way to the machine itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster import TOOLS, helper, log_of, run_helper
from realcluster.user import Object, User


def kill_container(user: User, pod: Object) -> None:
    """SIGKILL for the first process of the pod's trainer."""
    [container] = pod["status"]["containerStatuses"]
    identity = container["containerID"].rpartition("/")[2]
    run_helper(user.cluster, "kill-container", "kill_container.py", identity, node=pod["spec"]["nodeName"])


@contextmanager
def stopped_kubelet(user: User, node: str, *, seconds: int) -> Iterator[None]:
    """The node's kubelet doesn't run for so long; the node is ready again on return."""
    name = "stop-kubelet"
    with helper(user.cluster, name, "stop_kubelet.py", node, str(seconds), node=node, host=True):
        user.until(lambda: log_of(user.cluster, name), lambda log: "holding" in log)
        yield
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        user.cluster.kubectl("wait", f"pod/{name}", "-n", TOOLS, ended, f"--timeout={seconds + 60}s")
        user.cluster.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=60s")
