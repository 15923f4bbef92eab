"""What `helm test` runs, with the operator's rights: content with a whole installation, it names what is missing."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from realcluster.chart import RELEASE, render
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.site import Site

pytestmark = [
    pytest.mark.realcluster,
    pytest.mark.skipif(find_assets() is None, reason="needs etcd and kube-apiserver in $KUBEBUILDER_ASSETS"),
]


def run_test(kubeconfig: Path, folder: Path, *, operator: str, patience: float = 5) -> subprocess.CompletedProcess[str]:
    """The test's pod as a process: its own command and variables, but for where the two servers listen."""
    [pod] = [each for each in render({"crds": {"install": False}}) if each["kind"] == "Pod"]
    [container] = pod["spec"]["containers"]
    config = json.loads(kubeconfig.read_text())
    address = urlsplit(config["clusters"][0]["cluster"]["server"])
    (folder / "token").write_text(config["users"][0]["user"]["token"])
    (folder / "ca.crt").write_bytes(base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]))
    env = {each["name"]: each["value"] for each in container["env"]} | {
        "OPERATOR": operator,
        "ACCOUNT": str(folder),
        "KUBERNETES_SERVICE_HOST": str(address.hostname),
        "KUBERNETES_SERVICE_PORT": str(address.port),
        "PATIENCE_SECONDS": str(patience),
    }
    assert container["command"] == ["python", "-c"]
    command = [sys.executable, "-c", *container["args"]]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_a_whole_installation(site: Site, tmp_path: Path) -> None:
    done = run_test(site.kubeconfig_of_operator, tmp_path, operator=site.operator_address, patience=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The operator is ready; CRDs and rights are there.\n"


def test_a_right_that_was_taken_away(site: Site, tmp_path: Path) -> None:
    role = site.plane.kubectl("get", "clusterrole", f"{RELEASE}-cluster", "-o", "json").stdout
    without = {
        **json.loads(role),
        "rules": [each for each in json.loads(role)["rules"] if "nodes" not in each["resources"]],
    }
    site.plane.kubectl("replace", "-f", "-", stdin=without)
    try:
        done = run_test(site.kubeconfig_of_operator, tmp_path, operator=site.operator_address)
        assert done.returncode == 1
        assert [
            line for line in done.stdout.splitlines() if "'verb': 'watch'" in line and "'resource': 'nodes'" in line
        ]
        assert "trainingjobs" not in done.stdout
    finally:
        site.plane.kubectl("replace", "--force", "-f", "-", stdin=json.loads(role))


def test_no_crds_no_rights_and_nobody_there(tmp_path: Path) -> None:
    with ControlPlane() as plane:
        nobody = plane.service_account("nobody", folder=tmp_path)
        done = run_test(nobody, tmp_path, operator="http://127.0.0.1:9", patience=0)
    assert done.returncode == 1
    assert "the API server serves no footplate.dev/v1alpha1" in done.stdout
    assert "http://127.0.0.1:9/readyz can't be asked" in done.stdout
    assert "'resource': 'trainingjobs', 'subresource': 'status'" in done.stdout
