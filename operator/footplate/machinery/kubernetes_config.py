"""What reads kubeconfigs and service accounts in the kubernetes package, without the rest of that package.

`kubernetes` and `kubernetes.aio` import, at their top, a client for every group of the API and the synchronous half:
half a second of a command's time for what nobody here uses. So both stand in as empty packages while their reader is
imported; who imports them afterwards gets them whole.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_PACKAGES = ("kubernetes", "kubernetes.aio")

# The client asks for the home while it is imported, and fails for a UID that has none: neither HOME nor a passwd entry.
os.environ.setdefault("HOME", "/")


def _stand_in() -> list[str]:
    """Empty packages for those that aren't imported yet; their names."""
    spec = find_spec("kubernetes")
    if _PACKAGES[0] in sys.modules or spec is None or not spec.submodule_search_locations:
        return []
    folder = Path(spec.submodule_search_locations[0]).parent
    for name in _PACKAGES:
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    return [*_PACKAGES]


_standing_in = _stand_in()
try:
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config import load_incluster_config, load_kube_config
finally:
    for _name in _standing_in:
        del sys.modules[_name]

__all__ = ["Configuration", "load_incluster_config", "load_kube_config"]
