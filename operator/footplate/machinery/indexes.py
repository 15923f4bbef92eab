"""By what the stores look their objects up: the job that a pod or a gang's object belongs to, and what a job says of
itself. Read from raw objects, whatever is in them. Pure.
"""

from footplate.api.status import FINISHED
from footplate.attempt_spec import group_name, job_of_group
from footplate.contract import Label
from footplate.machinery.resources import TRAINING_JOBS
from footplate.objects import Key, Object, block, controller_of, key_of, text


def job_key_of(pod: Object) -> Key | None:
    """The key of the TrainingJob that controls it; None where nothing or another kind does."""
    controller = controller_of(pod)
    if controller is None or controller.get("kind") != "TrainingJob" or controller["apiVersion"] != TRAINING_JOBS.api:
        return None
    return pod["metadata"]["namespace"], controller["name"]


def group_of(pod: Object) -> Key | None:
    """Namespace and name of the group that the pod is in, if its gang is known as one to anybody; scouts aren't."""
    labels = block(pod, "metadata", "labels")
    if str(Label.SCOUT) in labels or controller_of(pod) is None:
        return None
    job, uid, run, attempt = (text(labels, label) for label in (Label.JOB, Label.UID, Label.RUN, Label.ATTEMPT))
    if not (run.isdigit() and attempt.isdigit()):
        return None
    return key_of(pod)[0], group_name(job, run=int(run), attempt=int(attempt), uid=uid)


def job_of_workload(workload: Object) -> Key | None:
    """The key of the job whose group Kueue's Workload stands for; None where it isn't one of ours, by its name."""
    namespace, name = key_of(workload)
    job = job_of_group(name)
    return None if job is None else (namespace, job)


def node_of(pod: Object) -> str | None:
    """The node that it is bound to."""
    return pod["spec"].get("nodeName") or None


def phase_of(job: Object) -> str:
    """Its phase; Pending where no operator has seen it."""
    return (job.get("status") or {}).get("phase") or "Pending"


def finished_in(job: Object) -> str | None:
    """The namespace of a job that has finished; None of others."""
    return key_of(job)[0] if phase_of(job) in FINISHED else None


def end_of(job: Object) -> tuple[str, str]:
    """When a job finished; those of one second have an order too."""
    return text(block(job, "status"), "completionTime"), key_of(job)[1]


def namespace_of(job: Object) -> str:
    """The namespace that it is in."""
    return key_of(job)[0]


def named_runtime(job: Object) -> tuple[str, Key] | None:
    """Kind and key of the runtime that it names; None where it names none."""
    reference = (job.get("spec") or {}).get("runtimeRef")
    if not isinstance(reference, dict) or not isinstance(reference.get("name"), str):
        return None
    kind = reference.get("kind") or "ClusterTrainingRuntime"
    namespace = job["metadata"]["namespace"] if kind == "TrainingRuntime" else ""
    return kind, (namespace, reference["name"])
