"""What `helm test` runs in a pod with the operator's ServiceAccount: is it ready, are the CRDs there, and all rights?

$OPERATOR is the address of its probes, $RESOURCES the plurals of the CRDs, $GRANTS the rules of each binding. It ends
with 1 where something is missing, and says what. Python's own library is all it needs.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
API = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
PATIENCE_SECONDS = float(os.environ.get("PATIENCE_SECONDS", 60))


def ask_api(path, body=None):
    """The API server's answer to a GET, or to a POST where there is a body."""
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data=data, headers=headers)
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
        return json.load(answer)


def wait_until_ready():
    """What is wrong with /readyz, once there has been time enough; nothing if a replica is ready."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{os.environ['OPERATOR']}/readyz", timeout=5):
                return []
        except urllib.error.HTTPError as error:
            trouble = f"/readyz says {error.code}: {error.read(2000).decode(errors='replace').strip()}"
        except OSError as error:
            trouble = f"{os.environ['OPERATOR']}/readyz can't be asked: {error}"
        if time.monotonic() > deadline:
            return [trouble]
        time.sleep(1)


def missing_resources():
    """CRDs that the API server doesn't serve."""
    try:
        served = {each["name"] for each in ask_api("/apis/footplate.dev/v1alpha1")["resources"]}
    except urllib.error.HTTPError as error:
        return [f"the API server serves no footplate.dev/v1alpha1: {error}"]
    wanted = json.loads(os.environ["RESOURCES"])
    return [f"there is no CRD {name}.footplate.dev" for name in wanted if name not in served]


def missing_rights():
    """Rights that the chart's bindings grant, and that the API server doesn't know of."""
    wanted = [
        {"namespace": grant["namespace"], "group": group, "verb": verb, "name": name}
        | dict(zip(("resource", "subresource"), resource.split("/"), strict=False))
        for grant in json.loads(os.environ["GRANTS"])
        for rule in grant["rules"]
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    ]
    return [f"the operator has no right to {each}" for each in wanted if not may(each)]


def may(attributes):
    """Whether this ServiceAccount may do so."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return ask_api(path, {**review, "spec": {"resourceAttributes": attributes}})["status"]["allowed"]


troubles = [*missing_resources(), *missing_rights(), *wait_until_ready()]
print("\n".join(troubles) or "The operator is ready; CRDs and rights are there.")
sys.exit(bool(troubles))
