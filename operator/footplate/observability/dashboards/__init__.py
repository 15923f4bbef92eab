"""The dashboards, one a file."""

from footplate.observability.dashboards.fleet import FLEET
from footplate.observability.dashboards.job import DASHBOARD as JOB
from footplate.observability.dashboards.namespaces import NAMESPACES

DASHBOARDS = (FLEET, NAMESPACES, JOB)
