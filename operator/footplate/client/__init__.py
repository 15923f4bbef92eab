"""The one way in for people and programs: jobs, their progress, logs, curves and models."""

from footplate.client.checkpoints import CheckpointView
from footplate.client.client import Change, Client
from footplate.client.cluster import ClusterView
from footplate.client.errors import (
    ClientError,
    ClusterUnreachable,
    JobDeleted,
    JobEnded,
    JobExists,
    JobInvalid,
    JobNotFound,
    JobRefused,
    NotAllowed,
    NotInstalled,
    NotLoggedIn,
    WaitTimeout,
)
from footplate.client.events import JobEvent
from footplate.client.history import History
from footplate.client.job import Job
from footplate.client.log_lines import LogLine
from footplate.client.logs import LogsNotFound
from footplate.client.ranks import RankView
from footplate.client.storage import StorageUnreadable
from footplate.client.why import Why

__all__ = [
    "Change",
    "CheckpointView",
    "Client",
    "ClientError",
    "ClusterUnreachable",
    "ClusterView",
    "History",
    "Job",
    "JobDeleted",
    "JobEnded",
    "JobEvent",
    "JobExists",
    "JobInvalid",
    "JobNotFound",
    "JobRefused",
    "LogLine",
    "LogsNotFound",
    "NotAllowed",
    "NotInstalled",
    "NotLoggedIn",
    "RankView",
    "StorageUnreadable",
    "WaitTimeout",
    "Why",
]
