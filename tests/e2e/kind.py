"""A cluster of kind with two workers and the images of this checkout.

Needs Docker and the programs `docker` and `kind`. The cluster has a name of its own and is deleted at the end.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import OPERATOR_IMAGE, TRAINER_IMAGE, run
from realcluster.chart import CHART
from realcluster.controlplane import Cluster

ROOT = CHART.parents[1]
NAME = "footplate-e2e"
NODES = """
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
"""


def what_is_missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    missing = [program for program in ("docker", "kind") if shutil.which(program) is None]
    if missing:
        return f"{' and '.join(missing)} on the PATH"
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True)
    return f"a Docker daemon: {answer.stderr.strip()}" if answer.returncode else ""


@contextmanager
def kind_cluster(folder: Path) -> Iterator[Cluster]:
    """Until the end of the block; both images are on its nodes."""
    run("make", "-C", str(ROOT), "images")
    cluster, config = Cluster(folder / "kubeconfig"), folder / "kind.yaml"
    config.write_text(NODES)
    options = ("--config", str(config), "--kubeconfig", str(cluster.kubeconfig_path), "--wait", "180s")
    try:
        run("kind", "create", "cluster", "--name", NAME, *options)
        run("kind", "load", "docker-image", "--name", NAME, OPERATOR_IMAGE, TRAINER_IMAGE)
        yield cluster
    finally:
        run("kind", "delete", "cluster", "--name", NAME)
