"""Which of a job's labels go on to its pods, Service and ConfigMap: those that the platform's allow-list names.

Never those by which a tool knows what it has applied: Argo CD, Flux and Helm would take what the operator has created
for their own, find it in no repository, and prune it. Nor ours, nor a scheduler's, which are about the job alone.
"""

import re
from collections.abc import Mapping, Sequence

from footplate.api.patterns import LABEL_KEY_PATTERN
from footplate.errors import ConfigurationError
from footplate.policy.allowed import is_named

DEFAULT = ("cost-center", "team")

NEVER = (
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "argocd.argoproj.io/*",
    "helm.sh/*",
    "helm.toolkit.fluxcd.io/*",
    "kustomize.toolkit.fluxcd.io/*",
    "applyset.kubernetes.io/*",
    "footplate.dev/*",
    "kueue.x-k8s.io/*",
)
"""Exact keys and whole prefixes that no allow-list can name."""

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
        if _is_among(NEVER, pattern):
            raise ConfigurationError(
                f"propagateLabels: {pattern!r} never goes on to pods: by such labels tools like Argo CD, Flux and Helm "
                "know what they have applied, and they would prune the pods; leave it out"
            )


def propagated(labels: Mapping[str, object], patterns: Sequence[str]) -> Mapping[str, str]:
    """The labels whose keys the patterns name, but for those that never go on."""
    return {
        key: value
        for key, value in sorted(labels.items())
        if isinstance(value, str) and _is_among(patterns, key) and not _is_among(NEVER, key)
    }


def _is_among(patterns: Sequence[str], key: str) -> bool:
    """Whether a key, or a whole prefix, is one of the patterns'."""
    return any(is_named(key, pattern) for pattern in patterns)
