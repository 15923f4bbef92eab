"""The Pod Security Standard `restricted`, as Kubernetes documents it, for one pod.

tests/realcluster/test_chart_security.py compares its verdicts with those of a real API server.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
}


def violations(spec: Object) -> list[str]:
    """What in a pod's spec the standard forbids; nothing if it keeps it."""
    return [*_of_pod(spec), *(f"{each['name']}: {word}" for each in containers(spec) for word in _of(each, spec))]


def containers(spec: Object) -> list[Object]:
    """All of them, of each sort."""
    sorts = ("initContainers", "containers", "ephemeralContainers")
    return [each for sort in sorts for each in spec.get(sort) or ()]


def _of_pod(spec: Object) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes") or ():
        yield from (f"volume {kind}" for kind in set(volume) - {"name"} - VOLUMES)
    context = spec.get("securityContext") or {}
    yield from _of_both(context)
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"


def _of_both(context: Object) -> Iterator[str]:
    """What a pod's and a container's security context have in common."""
    if context.get("runAsUser") == 0:
        yield "runAsUser"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "hostProcess"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield "appArmorProfile"
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield "seccompProfile"


def _of(container: Object, spec: Object) -> Iterator[str]:
    own, pod = container.get("securityContext") or {}, spec.get("securityContext") or {}
    yield from _of_both(own)
    if own.get("privileged"):
        yield "privileged"
    if own.get("procMount") not in (None, "Default"):
        yield "procMount"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield "runAsNonRoot"
    if not (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type"):
        yield "no seccompProfile"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield "capabilities.drop"
    if set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "hostPort"
    if any(action.get("host") for action in _actions(container)):
        yield "host of a probe"


def _actions(container: Object) -> Iterator[Object]:
    """What probes and hooks ask: their httpGet and tcpSocket."""
    hooks = (container.get("lifecycle") or {}).values()
    probes = (container.get(f"{name}Probe") or {} for name in ("liveness", "readiness", "startup"))
    for each in (*hooks, *probes):
        yield from (each[kind] for kind in ("httpGet", "tcpSocket") if each.get(kind))
