"""Certificate authorities for tests, by the openssl command: a server's and clients' certificates, and old ones."""

import ssl
import subprocess
from pathlib import Path

_ADDRESS = "subjectAltName=IP:127.0.0.1"


class Authority:
    """An authority with its files in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.certificate, self._key = folder / "ca.crt", folder / "ca.key"
        _openssl("req", "-x509", *_new_key(self._key), "-subj", f"/CN={folder.name}", "-out", str(self.certificate))

    def issue_pair(self, name: str, *, subject: str = "", days: int = 1) -> tuple[Path, Path]:
        """Files of this name with a certificate and its key, for 127.0.0.1 and for the subject, which is the name where
        none is given; of 0 days it is expired at once.
        """
        certificate, key, request = (self.folder / f"{name}.{suffix}" for suffix in ("crt", "key", "csr"))
        _openssl("req", *_new_key(key), "-subj", f"/CN={subject or name}", "-addext", _ADDRESS, "-out", str(request))
        signer = ("-CA", str(self.certificate), "-CAkey", str(self._key), "-copy_extensions", "copy")
        _openssl("x509", "-req", "-in", str(request), *signer, "-days", str(days), "-out", str(certificate))
        return certificate, key

    def issue(self, *, mutual: bool = False) -> ssl.SSLContext:
        """What a server on 127.0.0.1 needs; with `mutual` it lets in only clients of this authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.issue_pair("server"))
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.certificate)
        return context


def _new_key(path: Path) -> tuple[str, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
