"""The closed set of reasons in status, conditions, events and metrics."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a job is in its phase, why an attempt ended, or of what an event tells besides."""

    # Of a job that waits, starts or runs; FAILED_CREATE is the condition ReplicaFailure's too
    CREATING_PODS = "CreatingPods"
    PODS_REFUSED = "PodsRefused"
    FAILED_CREATE = "FailedCreate"
    RUNTIME_NOT_FOUND = "RuntimeNotFound"
    RUNTIME_REFUSES = "RuntimeRefuses"
    POLICY_REFUSES = "PolicyRefuses"
    WAITING_FOR_NODES = "WaitingForNodes"
    GATED = "Gated"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    EXCEEDS_QUOTA = "ExceedsQuota"
    WAITING_FOR_GANG = "WaitingForGang"
    WAITING_FOR_QUEUE = "WaitingForQueue"
    STARTING_PODS = "StartingPods"
    PREPARING_DATA = "PreparingData"
    ALL_PODS_RUNNING = "AllPodsRunning"
    SUSPENDED = "SuspendedByUser"
    BUDGET_SPENT = "BudgetSpent"
    RESUMED = "Resumed"
    # Ends of an attempt, and of the run where no budget is left or none was given
    COMPLETED = "Completed"
    ALREADY_COMPLETE = "AlreadyComplete"
    DATA_PREPARED = "DataPrepared"
    USER_ERROR = "UserError"
    OUT_OF_MEMORY = "OutOfMemory"
    OUT_OF_DISK = "OutOfDisk"
    KILLED = "Killed"
    DATA_ERROR = "DataError"
    CONFIG_ERROR = "ConfigError"
    GATE_NOT_PASSED = "GateNotPassed"
    HANG = "Hang"
    PEER_LOST = "PeerLost"
    STOPPED = "Stopped"
    EVICTED = "Evicted"
    POD_LOST = "PodLost"
    NODE_REFUSED = "NodeRefused"
    INIT_FAILED = "InitContainerFailed"
    NODE_LOST = "NodeLost"
    NODE_UNFIT = "NodeUnfit"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG = "ContainerConfigError"
    START_TIMEOUT = "StartTimeout"
    SCHEDULING_TIMEOUT = "SchedulingTimeout"
    RESIZED = "Resized"
    RECLAIMED = "Reclaimed"
    # Ends of a run
    INVALID_SPEC = "InvalidSpec"
    INVALID_POD = "InvalidPod"
    NAME_CONFLICT = "NameConflict"
    RUN_CONFIG_LOST = "RunConfigLost"
    MAX_RESTARTS = "MaxRestartsExceeded"
    MAX_DISRUPTIONS = "MaxDisruptionsExceeded"
    DEADLINE = "DeadlineExceeded"
    IDLE = "IdleAccelerators"
    QUEUE_DEADLINE = "QueueDeadlineExceeded"
    REPEATED_ERROR = "RepeatedError"
    # Writes that fail beside the phase: deletes, of ReplicaFailure and events; status writes, of events alone
    FAILED_DELETE = "FailedDelete"
    FAILED_UPDATE = "FailedUpdate"
    # Of events alone, but for EDIT_REFUSED, which is the condition EditsRefused's too
    FIRST_STEP = "FirstStep"
    RESUMED_FROM = "ResumedFromCheckpoint"
    CHECKPOINT_SAVED = "CheckpointSaved"
    MODEL_VERIFIED = "ModelVerified"
    TRAINER_NOTE = "TrainerNote"
    STRAGGLER = "Straggler"
    GRACE_TOO_SHORT = "GraceTooShort"
    BUDGET_NEARLY_SPENT = "BudgetNearlySpent"
    STATUS_NOT_UNDERSTOOD = "StatusNotUnderstood"
    SIDECAR = "SidecarRunsOn"
    EDIT_REFUSED = "EditRefused"
    SUSPECT_NODE = "SuspectNode"


MILESTONES = frozenset((Reason.FIRST_STEP, Reason.RESUMED_FROM, Reason.CHECKPOINT_SAVED, Reason.MODEL_VERIFIED))
"""How a run gets on, where all is well."""

NOTICES = MILESTONES | {
    Reason.TRAINER_NOTE,
    Reason.STRAGGLER,
    Reason.GRACE_TOO_SHORT,
    Reason.BUDGET_NEARLY_SPENT,
    Reason.SIDECAR,
    Reason.SUSPECT_NODE,
}
"""Notes about a run that goes on, which give way to all else that is to be said."""
