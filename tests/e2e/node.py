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
    """The node's kubelet doesn't run for so long. The block begins when the cluster has noticed that nobody answers for
    the node; the node is ready again at its end.
    """
    name = "stop-kubelet"
    with helper(user.cluster, name, "stop_kubelet.py", node, str(seconds), node=node, host=True):
        unknown = ("wait", f"node/{node}", "--for=condition=Ready=Unknown", f"--timeout={seconds}s")
        done = user.cluster.kubectl(*unknown, check=False)  # nothing else can be asked of the node meanwhile
        assert done.returncode == 0, f"{done.stderr}\n{log_of(user.cluster, name)}"
        yield
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        user.cluster.kubectl("wait", f"pod/{name}", "-n", TOOLS, ended, f"--timeout={seconds + 60}s")
        user.cluster.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=60s")
