"""The one way in for people and programs: jobs, their progress, logs, curves and models."""

from footplate.client.client import Change, Client
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
from footplate.client.job import Job

__all__ = [
    "Change",
    "Client",
    "ClientError",
    "ClusterUnreachable",
    "Job",
    "JobDeleted",
    "JobEnded",
    "JobExists",
    "JobInvalid",
    "JobNotFound",
    "JobRefused",
    "NotAllowed",
    "NotInstalled",
    "NotLoggedIn",
    "WaitTimeout",
]
