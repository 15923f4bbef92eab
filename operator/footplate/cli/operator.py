"""`footplate operator`: runs the operator in this process."""

import asyncio
import logging
from enum import StrEnum
from typing import Annotated

import typer

from footplate.errors import FootplateError
from footplate.gangs.kinds import GangKind
from footplate.machinery.settings import OperatorSettings

_DEFAULT = OperatorSettings()


class LogLevel(StrEnum):
    """Least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def operator(
    *,
    kubeconfig: Annotated[
        str | None, typer.Option(help="Kubeconfig; default: the pod's service account, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context in the kubeconfig.")] = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Namespace to serve, repeatable; default: all.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address of probes and metrics; default: every address.")] = _DEFAULT.host,
    port: Annotated[int, typer.Option(help="Port of /livez, /readyz, /metrics.")] = _DEFAULT.port,
    workers: Annotated[int, typer.Option(min=1, help="Jobs reconciled at the same time.")] = _DEFAULT.workers,
    leader_election: Annotated[bool, typer.Option(help="Only the holder of a Lease acts.")] = True,
    lease_namespace: Annotated[
        str, typer.Option(help="Namespace of the Lease; default: $POD_NAMESPACE.")
    ] = _DEFAULT.lease_namespace,
    poll_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks at a job's progress.")
    ] = _DEFAULT.poll_interval,
    without_gang: Annotated[
        list[GangKind] | None,
        typer.Option(help="Scheduler of gangs to make no use of, repeatable: kueue, coscheduling, volcano or native."),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="Least level that is logged.")] = LogLevel.INFO,
) -> None:
    """Run the operator: it turns TrainingJobs into gangs of trainer pods, until it is told to stop."""
    from footplate.machinery.logs import configure_logging
    from footplate.operator import run_operator

    configure_logging(level=logging.getLevelNamesMapping()[log_level.upper()])
    settings = OperatorSettings(
        kubeconfig=kubeconfig,
        context=context,
        namespaces=tuple(namespace or ()),
        host=host,
        port=port,
        workers=workers,
        leader_election=leader_election,
        lease_namespace=lease_namespace,
        poll_interval=poll_interval,
        without_gangs=tuple(without_gang or ()),
    )
    try:
        asyncio.run(run_operator(settings))
    except FootplateError as error:
        typer.echo(f"footplate operator: {error}", err=True)
        raise typer.Exit(1) from error
