from collections.abc import Iterator

import pytest

from client_site import Site, site_in
from footplate.client import Client


@pytest.fixture(scope="package")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An API server for all tests of the client: to install the CRDs takes half a second."""
    with site_in(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """An API server without faults and objects."""
    yield shared_site
    shared_site.clear()


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    """A client of that server."""
    with Client(kubeconfig=site.kubeconfig) as client:
        yield client
