"""Who owns which field (`metadata.managedFields`), and server-side apply.
"""
from typing import Any

def record_update(resource: Any, old: Any, body: Any, manager: str, subresource: str, now: str) -> None:
    """stub"""
    return None

def record_apply(resource: Any, old: Any, body: Any, manager: str, subresource: str, now: str, *, configuration: Any=None) -> None:
    """stub"""
    return None

def apply_configuration(resource, body, *, configuration, options, force):
    from footplate.devcluster.patch import merge_patch
    return merge_patch(body, configuration)
