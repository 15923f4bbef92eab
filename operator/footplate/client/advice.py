"""What to do about each reason of a status, as docs/troubleshooting.md says it at length. Pure.

`{name}` stands for the job's name, `{from}` for what it goes on from, which is nothing before a first checkpoint.
"""

from collections.abc import Mapping

from footplate.policy.reasons import MILESTONES, Reason

AGAIN = "`footplate restart {name}` then starts another run{from}"
ANEW = "the spec can't be changed: `footplate cancel {name}`, then create it anew"
_MEND = "correct the code or its hyperparameters, " + ANEW
_MEMORY = (
    "raise resources.limits.memory (of the pod that prepares data: data.resources), or lower the batch size or the "
    "number of data workers; " + ANEW
)
_WAIT = "nothing: it goes on by itself"
_NODES = "wait for room, ask for less in resources, or correct podTemplate.nodeSelector, tolerations and affinity"
_LOGS = "`footplate logs {name} --failed` shows what the rank wrote last"

ADVICE: Mapping[Reason, tuple[str, ...]] = {
    Reason.CREATING_PODS: ("nothing; where it stays so for minutes, look at the operator's log",),
    Reason.PODS_REFUSED: ("free some of the quota, or ask who runs the policy that the message names", _WAIT + " then"),
    Reason.FAILED_CREATE: ("ask who runs the webhook or API server that the message names", _WAIT + " then"),
    Reason.RUNTIME_NOT_FOUND: ("create the runtime, and the job starts by itself; or correct its name: " + ANEW,),
    Reason.RUNTIME_REFUSES: ("keep to the runtime's policy: " + ANEW, "or ask the platform team to widen the policy"),
    Reason.POLICY_REFUSES: (
        "keep to the TrainingPolicy that the message names: " + ANEW,
        "or ask the platform team to widen it: the job then goes on by itself",
    ),
    Reason.WAITING_FOR_NODES: (_NODES, "`footplate top` shows who holds the accelerators"),
    Reason.GATED: ("wait for the queue that holds the pods back: its own objects say for what",),
    Reason.WAITING_FOR_QUEUE: ("wait: the queue lets the whole gang in when there is room; the message says for what",),
    Reason.WAITING_FOR_QUOTA: (
        "nothing: it starts by itself when it is its turn",
        "`footplate top` shows who holds what",
    ),
    Reason.EXCEEDS_QUOTA: (
        "ask for fewer nodes or accelerators: " + ANEW,
        "or ask the platform team for a larger quota",
    ),
    Reason.RECLAIMED: ("nothing: it goes on{from} when there is room again",),
    Reason.WAITING_FOR_GANG: (
        "the message says what the gang waits for; where a scheduler is missing, install it, or create the job anew "
        "with another scheduling.gang",
    ),
    Reason.STARTING_PODS: (
        "where it takes long: an image of many GB, or a Secret, ConfigMap or volume claim that isn't there; "
        "`kubectl describe pod` says which, and once it is there the pod starts by itself",
    ),
    Reason.PREPARING_DATA: (
        "nothing: one pod checks and divides the data before the gang; `footplate logs {name}` says how far it is",
    ),
    Reason.ALL_PODS_RUNNING: ("where steps don't come, `footplate logs {name} --all` shows what the ranks do",),
    Reason.IDLE: ("look at what it did last with `footplate logs {name}`", "`footplate restart {name}` goes on"),
    Reason.BUDGET_SPENT: ("raise `runPolicy.budget`: the job goes on{from}",),
    Reason.SUSPENDED: ("`footplate resume {name}` lets it go on{from}",),
    Reason.RESUMED: (_WAIT,),
    Reason.COMPLETED: (),
    Reason.DATA_PREPARED: (_WAIT,),
    Reason.ALREADY_COMPLETE: ("nothing; to train again all the same, `footplate restart {name}`",),
    Reason.USER_ERROR: (_MEND, _LOGS),
    Reason.OUT_OF_MEMORY: (_MEMORY,),
    Reason.OUT_OF_DISK: (
        "raise resources.limits.ephemeral-storage, the volume's emptyDir.sizeLimit or podTemplate.sharedMemory, or "
        "write less; " + ANEW,
    ),
    Reason.KILLED: (_MEMORY, _LOGS + "; it has the stack of a crash"),
    Reason.DATA_ERROR: ("put the data right; " + AGAIN, "or correct the URI: " + ANEW),
    Reason.CONFIG_ERROR: ("correct the Secret or ConfigMap if it is one; " + AGAIN, "for all else, " + ANEW),
    Reason.GATE_NOT_PASSED: (
        "`footplate evaluation {name}` shows all that was measured; `footplate artifact get {name} FOLDER` fetches "
        "the model all the same",
        "train better, or set another bound in spec.evaluation.gates: " + ANEW,
    ),
    Reason.HANG: (
        _LOGS + ", with the stacks of all ranks: a collective that not all call, or a slow read",
        "if it was only slow, raise runPolicy.hangTimeoutSeconds; " + ANEW,
    ),
    Reason.PEER_LOST: (_WAIT, "where it comes again, look at the network between the nodes"),
    Reason.STOPPED: (_WAIT,),
    Reason.EVICTED: (_WAIT, "where the node ran short of disk, request ephemeral-storage"),
    Reason.POD_LOST: (_WAIT,),
    Reason.NODE_REFUSED: (_WAIT + ", on other nodes", "where it comes again, look at that node's devices"),
    Reason.INIT_FAILED: (
        "ask who runs the webhook that puts this container into pods, or keep it away by podTemplate.annotations",
    ),
    Reason.NODE_LOST: (_WAIT + ", on other nodes",),
    Reason.NODE_UNFIT: (
        _WAIT + ", on other nodes",
        "look at that node; where it is sound, the floor in its runtime's preflight is too high",
    ),
    Reason.IMAGE_PULL_FAILED: (
        "push the image, or correct the Secret in podTemplate.imagePullSecrets: the job goes on by itself",
        "for another image, " + ANEW,
    ),
    Reason.CONTAINER_CONFIG: (
        "create the Secret or ConfigMap that the message names: the job goes on by itself",
        "else correct trainer.image or trainer.command: " + ANEW,
    ),
    Reason.START_TIMEOUT: (
        "`kubectl describe pod` says what its node waits for: a volume, or a long pull",
        "for a very large image, raise runPolicy.schedulingTimeoutSeconds",
    ),
    Reason.SCHEDULING_TIMEOUT: ("nothing: it is tried again, later each time", _NODES),
    Reason.RESIZED: (_WAIT + ", with its new size",),
    Reason.INVALID_SPEC: ("correct the fields that the message names: " + ANEW,),
    Reason.INVALID_POD: ("correct what the message names, mostly in podTemplate: " + ANEW,),
    Reason.NAME_CONFLICT: (
        "`footplate restart {name}`: another run's objects have other names",
        "or delete the object that the message names",
    ),
    Reason.RUN_CONFIG_LOST: ("`footplate restart {name}` begins a run with the job as it is now",),
    Reason.MAX_RESTARTS: ("mend the failure that the message begins with; " + ANEW, _LOGS),
    Reason.MAX_DISRUPTIONS: ("look at the nodes of the last attempts; " + AGAIN,),
    Reason.DEADLINE: ("set a longer runPolicy.activeDeadlineSeconds; " + AGAIN,),
    Reason.QUEUE_DEADLINE: ("`footplate restart {name}` when there is room, or ask for less: " + ANEW,),
    Reason.REPEATED_ERROR: ("mend the error; the data at that step may be its cause", ANEW, _LOGS),
    Reason.FAILED_DELETE: ("ask who runs the admission policy that the message names; it is tried again by itself",),
    Reason.FAILED_UPDATE: ("the CRDs are older than the operator, or a policy forbids it: ask who runs the operator",),
    **dict.fromkeys(MILESTONES, ()),
    Reason.TRAINER_NOTE: ("as the note says",),
    Reason.STRAGGLER: (
        "look at that node's accelerators, CPU and disk",
        "to leave it, `kubectl cordon` it, then `footplate suspend {name}` and `footplate resume {name}`",
    ),
    Reason.BUDGET_NEARLY_SPENT: ("raise `runPolicy.budget` before it is spent, or let the run be suspended then",),
    Reason.GRACE_TOO_SHORT: ("create the job anew with a longer runPolicy.terminationGracePeriodSeconds",),
    Reason.STATUS_NOT_UNDERSTOOD: ("run the newer operator again, or delete the job",),
    Reason.SUSPECT_NODE: ("look at that node's `dmesg`, and reset or drain it; the job goes on elsewhere by itself",),
    Reason.SIDECAR: ("nothing; native sidecars end by themselves",),
    Reason.EDIT_REFUSED: ("set the field back, or leave it out",),
}


def advice(reason: str | None, *, name: str, saved: bool) -> list[str]:
    """What to do, also where no checkpoint is `saved`; nothing for a reason that another version has."""
    known = {str(each): said for each, said in ADVICE.items()}
    return [fill(said, name=name, saved=saved) for said in known.get(reason or "", ())]


def fill(said: str, *, name: str, saved: bool) -> str:
    """The words for this job."""
    return said.replace("{name}", name).replace("{from}", " from the newest checkpoint" if saved else "")
