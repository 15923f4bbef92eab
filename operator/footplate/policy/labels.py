"""Which of a job's labels go on to its pods, Service and ConfigMap: those that the platform's allow-list names.

Never those by which a tool knows what it has applied: Argo CD, Flux and Helm would take what the operator has created
for their own, find it in no repository, and prune it. Nor those by which somebody else steers pods, as schedulers,
autoscalers, meshes and identities do: what they do with a pod is podTemplate's to say, over which policies rule.
"""

import re
from collections.abc import Mapping, Sequence

from footplate.api.patterns import LABEL_KEY_PATTERN
from footplate.errors import ConfigurationError
from footplate.policy.allowed import is_named

DEFAULT = ("cost-center", "team")

NEVER = ("app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "aadpodidbinding", "applicationId", "queue")
"""Keys that no allow-list can name."""

NEVER_OF = (
    "footplate.dev",
    # Who have applied something.
    "argoproj.io",
    "fluxcd.io",
    "helm.sh",
    # Kubernetes' own, as of its workloads, topology, cluster-autoscaler, Pod Security and ApplySets; and its projects',
    # as Kueue, coscheduling, JobSet and the descheduler.
    "k8s.io",
    "kubernetes.io",
    "x-k8s.io",
    # Schedulers, queues and autoscalers.
    "kai.scheduler",
    "karpenter.k8s.aws",
    "karpenter.sh",
    "run.ai",
    "volcano.sh",
    "yunikorn.apache.org",
    # Meshes, which put containers into pods.
    "cilium.io",
    "istio.io",
    "linkerd.io",
    # Whom a pod may act as.
    "azure.workload.identity",
    "eks.amazonaws.com",
    "iam.amazonaws.com",
    "cloud.google.com",
    "vault.hashicorp.com",
)
"""Domains of keys, with all domains below them, that no allow-list can name."""

OPEN = "app.kubernetes.io"
"""Of these the domain whose keys are for people to set."""

MOST_PATTERNS = 64


def check_patterns(patterns: Sequence[str]) -> None:
    """Makes sure that an allow-list can be meant.

    Raises:
        ConfigurationError: with the pattern, the rule and the way out.
    """
    if len(patterns) > MOST_PATTERNS:
        raise ConfigurationError(f"propagateLabels: {len(patterns)} patterns, and {MOST_PATTERNS} is the most")
    for pattern in patterns:
        key = f"{pattern[:-1]}x" if pattern.endswith("/*") else pattern
        if re.fullmatch(LABEL_KEY_PATTERN, key) is None:
            raise ConfigurationError(
                f"propagateLabels: {pattern!r} is neither a label's key nor a prefix of keys; write it as cost-center, "
                "example.com/team, or example.com/* for all that begin so"
            )
        if _never_goes_on(pattern):
            raise ConfigurationError(
                f"propagateLabels: {pattern!r} never goes on to pods: by such labels tools like Argo CD, Flux and Helm "
                "know what they have applied, and would prune the pods, or schedulers, meshes and clouds know what to "
                "do with a pod; leave it out"
            )


def propagated(labels: Mapping[str, object], patterns: Sequence[str]) -> Mapping[str, str]:
    """The labels whose keys the patterns name, but for those that never go on."""
    return {
        key: value
        for key, value in sorted(labels.items())
        if isinstance(value, str) and _is_among(patterns, key) and not _never_goes_on(key)
    }


def _is_among(patterns: Sequence[str], key: str) -> bool:
    """Whether a key, or a whole prefix, is one of the patterns'."""
    return any(is_named(key, pattern) for pattern in patterns)


def _never_goes_on(key: str) -> bool:
    """Whether a key, or a whole prefix, is somebody else's."""
    domain = key.rpartition("/")[0]
    return key in NEVER or (domain != OPEN and any(f".{domain}".endswith(f".{each}") for each in NEVER_OF))
