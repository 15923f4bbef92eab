from collections.abc import Sequence

import pytest
from aiohttp import web

from footplate.machinery.crds import find_missing_crds
from unit.machinery.support import client_of

ALL = ["clustertrainingruntimes", "trainingpolicies", "trainingruntimes", "trainingjobs"]


@pytest.mark.parametrize(
    ("groups", "resources", "missing"),
    [
        pytest.param(["apps"], None, ALL, id="none yet"),
        pytest.param(["apps", "footplate.dev"], None, ALL, id="the group alone"),
        pytest.param(["footplate.dev"], ["clustertrainingruntimes"], ALL[1:], id="one"),
        pytest.param(["apps"], ALL, ALL, id="not in the list of groups yet"),
        pytest.param(["apps", "footplate.dev"], [*ALL, "trainingjobs/status"], [], id="all"),
    ],
)
async def test_what_kopf_would_not_find(
    groups: Sequence[str], resources: Sequence[str] | None, missing: Sequence[str]
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/apis":
            return web.json_response({"groups": [{"name": name} for name in groups]})
        if resources is None:
            return web.json_response({"reason": "NotFound"}, status=404)
        return web.json_response({"resources": [{"name": name} for name in resources]})

    async with client_of(answer) as client:
        assert await find_missing_crds(client) == missing
