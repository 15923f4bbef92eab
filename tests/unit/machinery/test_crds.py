from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest
from aiohttp import web

from footplate.api.crd import KINDS, build_crds
from footplate.machinery.crds import find_edition, find_problem
from unit.machinery.support import Handler, client_of

ALL = [kind.plural for kind in KINDS]
DOCUMENT = "/openapi/v3/apis/footplate.dev/v1alpha1"


def schemas() -> dict[str, Any]:
    """What a server with this version's CRDs serves, by kind."""
    return {
        crd["spec"]["names"]["kind"]: deepcopy(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        for crd in build_crds()
    }


def serve(
    *, groups: Sequence[str] = ("footplate.dev",), served: Sequence[str] | None = ALL, kinds: Mapping[str, Any] = {}
) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/apis":
            return web.json_response({"groups": [{"name": name} for name in groups]})
        if request.path == DOCUMENT:
            known = [
                {**schema, "x-kubernetes-group-version-kind": [group_version_kind(kind)]}
                for kind, schema in kinds.items()
            ]
            return web.json_response({"components": {"schemas": dict(enumerate(known))}})
        if served is None:
            return web.json_response({"reason": "NotFound"}, status=404)
        return web.json_response({"resources": [{"name": name} for name in served]})

    return answer


def group_version_kind(kind: str) -> Mapping[str, str]:
    return {"group": "footplate.dev", "version": "v1alpha1", "kind": kind}


@pytest.mark.parametrize(
    ("groups", "served", "missing"),
    [
        pytest.param(["apps"], None, ALL, id="none yet"),
        pytest.param(["apps", "footplate.dev"], None, ALL, id="the group alone"),
        pytest.param(["footplate.dev"], ["trainingjobs"], sorted({*ALL} - {"trainingjobs"}), id="one"),
        pytest.param(["apps"], ALL, ALL, id="not in the list of groups yet"),
    ],
)
async def test_what_kopf_would_not_find(
    groups: Sequence[str], served: Sequence[str] | None, missing: Sequence[str]
) -> None:
    async with client_of(serve(groups=groups, served=served)) as client:
        assert await find_problem(client) == f"not installed: {', '.join(sorted(missing))}; kubectl apply -f crds/"


async def test_those_of_this_version_fit() -> None:
    async with client_of(serve(kinds=schemas())) as client:
        assert await find_problem(client) is None


def status_of(kinds: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = kinds["TrainingJob"]["properties"]["status"]["properties"]
    return properties


def lacks_a_field(kinds: dict[str, Any]) -> None:
    del status_of(kinds)["attempts"]["items"]["properties"]["reason"]


def lacks_a_value(kinds: dict[str, Any]) -> None:
    status_of(kinds)["phase"]["enum"].remove("Suspending")


def takes_less(kinds: dict[str, Any]) -> None:
    status_of(kinds)["notes"]["maxItems"] = 1


def has_more(kinds: dict[str, Any]) -> None:
    status_of(kinds)["more"] = {"type": "string"}


def wants_more(kinds: dict[str, Any]) -> None:
    attempt = status_of(kinds)["attempts"]["items"]
    attempt["properties"]["more"] = {"type": "string"}
    attempt.setdefault("required", []).append("more")


def has_more_and_less(kinds: dict[str, Any]) -> None:
    has_more(kinds)
    lacks_a_field(kinds)


def is_not_told_yet(kinds: dict[str, Any]) -> None:
    del kinds["TrainingRuntime"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lacks_a_field, "trainingjobs.footplate.dev is older than this operator"),
        (lacks_a_field, "it lacks status.attempts[].reason; kubectl apply -f crds/ of this version"),
        (lacks_a_value, "it lacks status.phase: Suspending"),
        (takes_less, "it lacks status.notes: maxItems 8"),
        (has_more, None),
        (wants_more, "is newer than this operator"),
        (wants_more, "takes no status without status.attempts[].more: upgrade the operator"),
        (has_more_and_less, "it lacks status.attempts[].reason, and has status.more"),
        (is_not_told_yet, "doesn't say yet what it serves as trainingruntimes.footplate.dev"),
    ],
)
async def test_older_and_newer_ones(change: Any, said: str | None) -> None:
    kinds = schemas()
    change(kinds)
    async with client_of(serve(kinds=kinds)) as client:
        problem = await find_problem(client)
    assert problem is None if said is None else said in (problem or "")


async def test_another_edition_is_noticed_cheaply() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.path == "/openapi/v3"
        path = "apis/footplate.dev/v1alpha1"
        return web.json_response({"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash=1"}}})

    async with client_of(answer) as client:
        assert await find_edition(client) == f"{DOCUMENT}?hash=1"
