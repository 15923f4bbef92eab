"""A registry of one image, a program that ends at once with 0; it answers 503 for a while after the first request.

argv: the port, and for how many seconds.
"""

import hashlib
import io
import json
import platform
import struct
import sys
import tarfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# exit(0): machine number and architecture as ELF and OCI call them, and the instructions
MACHINES = {
    "x86_64": (62, "amd64", bytes.fromhex("31ff b83c000000 0f05")),
    "aarch64": (183, "arm64", bytes.fromhex("000080d2 a80b80d2 010000d4")),
}
BASE = 0x400000
HEADERS = 64 + 56


def program() -> bytes:
    """A static ELF executable."""
    machine, _, code = MACHINES[platform.machine()]
    size = HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, BASE + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)
    return ident + header + segment + code


def layer() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("zero")
        entry.size, entry.mode = len(program()), 0o755
        archive.addfile(entry, io.BytesIO(program()))
    return file.getvalue()


def digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def describe(blob: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "size": len(blob), "digest": digest(blob)}


LAYER = layer()
ROOTFS = {"type": "layers", "diff_ids": [digest(LAYER)]}
CONFIG = json.dumps({
    "os": "linux",
    "architecture": MACHINES[platform.machine()][1],
    "rootfs": ROOTFS,
    "config": {"Cmd": ["/zero"], "User": "10001:10001"},
}).encode()  # fmt: skip
IMAGE = "application/vnd.oci.image"
MANIFEST = json.dumps({
    "schemaVersion": 2,
    "mediaType": f"{IMAGE}.manifest.v1+json",
    "config": describe(CONFIG, f"{IMAGE}.config.v1+json"),
    "layers": [describe(LAYER, f"{IMAGE}.layer.v1.tar")],
}).encode()  # fmt: skip
BLOBS = {digest(blob): blob for blob in (LAYER, CONFIG, MANIFEST)}
since: list[float] = []


class Registry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        since.append(time.monotonic())
        blob = BLOBS.get(self.path.rpartition("/")[2], MANIFEST if "/manifests/" in self.path else b"")
        if time.monotonic() < since[0] + float(sys.argv[2]):
            self.answer(503, b"")
        else:
            self.answer(200, blob)

    do_HEAD = do_GET  # noqa: N815

    def answer(self, status: int, blob: bytes) -> None:
        self.send_response(status)
        kind = f"{IMAGE}.manifest.v1+json" if blob == MANIFEST else "application/octet-stream"
        for name, value in (("Content-Type", kind), ("Docker-Content-Digest", digest(blob))):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(blob)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(blob)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Registry).serve_forever()
