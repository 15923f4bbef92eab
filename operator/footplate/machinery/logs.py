"""How the operator logs: events with fields, as JSON in a container and coloured on a terminal, kopf's too."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from footplate.text import clean


def configure_logging(*, level: int = logging.INFO) -> None:
    """Sends every log record of this process to standard error, in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        clean_texts,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # kopf tells of each object and handler; the reconcile loop says all that is worth knowing of them.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def clean_texts(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A tenant's text can't forge a log line, nor flood the log: no control characters, and an end. Tracebacks stay."""
    for field, value in event.items():
        if isinstance(value, str) and field != "exception":
            event[field] = clean(value)
    return event
