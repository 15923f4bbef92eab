"""Which rights we turned out not to have: each 403 of RBAC names one, until it is there.

A quota's or a webhook's no is a 403 too, and is a job's business: RBAC's own words tell it. A right counts as missing
until a request that needs it is let through, or until the API server says that we have it by now: nobody has to restart
anything, and the job that needed it may be gone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from footplate.errors import FootplateError
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.metrics import Metrics
from footplate.objects import Object

log = structlog.get_logger(__name__)

RECHECK_SECONDS = 10.0
_MOST_NAMED = 10
_MOST_CHECKED = 50
"""At a time: where more are missing, one role is."""

_RBAC_SAYS = re.compile(r'forbidden: User \\?"[^"]*" cannot |cannot set blockOwnerDeletion')
_OWNER = "cannot set blockOwnerDeletion"
_GRANTED_BY_NAME = ("leases",)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PATH = re.compile(
    r"(?:.*/)?(?:api|apis/(?P<group>[^/]+))/v[^/]+(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?"
)


@dataclass(frozen=True, slots=True)
class Right:
    """To do this with that. `resource` has a subresource in it; an empty namespace is all of them, or none."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    name: str = ""
    """Of the object, where the chart grants it on this name alone."""

    def __str__(self) -> str:
        group = f" ({self.group})" if self.group else ""
        return f"{self.verb} {self.resource}{group}" + (f" in namespace {self.namespace}" if self.namespace else "")


def right_of(method: str, path: str, *, watch: bool = False) -> Right | None:
    """What a request needs; None for what isn't about a resource."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    resource = found["resource"] + (f"/{found['sub']}" if found["sub"] else "")
    read = "watch" if watch else "get" if found["name"] else "list"
    verb = _VERBS.get(method, read)
    name = found["name"] if resource in _GRANTED_BY_NAME and verb != "create" else None
    return Right(verb, resource, found["group"] or "", found["namespace"] or "", name or "")


class Rights:
    """What is missing. A session's middleware hears of it; `run` looks whether it is there by now."""

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._missing: dict[Right, None] = {}

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Sends the request, and notes whether we may do this."""
        response = await handler(request)
        right = right_of(request.method, request.url.path, watch="watch" in request.url.query)
        if right is not None and response.status == 403:
            await self._note(right, response)
        elif right is not None and response.status < 400 and self._missing:
            self._drop(right)
        return response

    def problems(self) -> Mapping[str, str]:
        """What to say of it, for /readyz."""
        missing = [*self._missing]
        if not missing:
            return {}
        named = "; ".join(map(str, missing[:_MOST_NAMED]))
        rest = f"; and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        return {"rights": f"missing: {named}{rest}; grant them as helm/footplate/templates/rbac.yaml does"}

    async def run(self, client: KubeClient) -> None:
        """Asks again and again for what is missing, until cancelled. Without a lease too: `client` has no fence."""
        while True:
            await self._clock.sleep(RECHECK_SECONDS)
            for right in [*self._missing][:_MOST_CHECKED]:
                try:
                    review = await client.create(_review(right))
                except FootplateError as error:
                    log.warning("right_not_checked", right=str(right), error=str(error))
                    break
                if review["status"].get("allowed"):
                    self._drop(right)

    async def _note(self, right: Right, response: ClientResponse) -> None:
        if right.verb not in ("get", "list", "watch"):
            said = (await response.read()).decode(errors="replace")
            if not _RBAC_SAYS.search(said):
                return
            if _OWNER in said:
                right = Right("update", "trainingjobs/finalizers", "footplate.dev", right.namespace)
        if right not in self._missing:
            log.error("right_missing", right=str(right))
            self._missing[right] = None
            self._metrics.rights_missing.labels(right.verb, right.resource).inc()

    def _drop(self, right: Right) -> None:
        if self._missing.pop(right, ...) is None:
            log.info("right_granted", right=str(right))
            self._metrics.rights_missing.labels(right.verb, right.resource).dec()


def _review(right: Right) -> Object:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
