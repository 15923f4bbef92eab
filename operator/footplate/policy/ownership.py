"""Whose a job is. Two operators that serve one namespace would both act on its jobs: so whoever acts on a job has first
written its Lease into the job's status, against the resourceVersion that it has seen, and of two that try one wins.
"""

from dataclasses import replace

from footplate.objects import Object, block, text
from footplate.policy.plan import Plan

FIELD = "operator"


def owner_of(job: Object) -> str:
    """Namespace and name of the Lease of the operator that acts on the job; empty where none has yet."""
    return text(block(job, "status"), FIELD)


def claim(plan: Plan, job: Object, *, operator: str) -> Plan:
    """The plan, with the job's status saying whose it is. Where it doesn't yet, nothing else is done before it does.

    `operator` is empty for one without a Lease, who claims nothing.
    """
    owner = operator or owner_of(job)
    if not owner or plan.left_alone:
        return plan
    if plan.status is not None and owner == owner_of(job):
        return replace(plan, status={**plan.status, FIELD: owner})
    if owner == owner_of(job) or not (plan.status is not None or plan.create or plan.delete):
        return plan
    status = block(job, "status") if plan.status is None else plan.status
    return replace(plan, create=(), delete=(), status={**status, FIELD: owner})
