#!/usr/bin/env python3
"""Throw-away certificates for TLS tests: python3 certificates.py DIR

Writes into DIR, with the openssl command: ca.pem, the authority to trust; and for each of server (localhost and
127.0.0.1), wrong_host (another name) and expired, NAME.pem and NAME.key signed by it. untrusted.pem and .key are
good for localhost but signed by themselves. They have all that Python 3.13's strict verification asks for (RFC 5280,
4.2.1.1 to 4.2.1.3). Nothing of this is ever committed.
"""

import subprocess
import sys
from pathlib import Path

_LOCAL = "DNS:localhost,IP:127.0.0.1"
NAMES = ("server", "wrong_host", "expired", "untrusted")


def make(directory):
    """Makes all certificates in `directory` (a Path, created if needed), replacing those that are there."""
    directory.mkdir(parents=True, exist_ok=True)
    _self_signed(directory, "ca", "CA:TRUE", "DNS:ca.invalid", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _self_signed(directory, "untrusted", "CA:FALSE", _LOCAL)
    _issue(directory, "server", _LOCAL)
    _issue(directory, "wrong_host", "DNS:wrong-host.invalid")
    _issue(directory, "expired", _LOCAL, "-startdate", "20200101000000Z", "-enddate", "20200102000000Z")


def _self_signed(directory, name, constraint, names, *extensions):
    _openssl(directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", f"/CN=simulated {name}", "-addext", f"basicConstraints=critical,{constraint}",
             "-addext", f"subjectAltName={names}", *extensions, "-keyout", f"{name}.key", "-out", f"{name}.pem")


def _issue(directory, name, names, *validity):
    """A certificate for `names` signed by the authority; `openssl ca` is the command that can date it back."""
    _openssl(directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", f"/CN=simulated {name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (directory / "index.txt").write_text("")
    (directory / "ca.conf").write_text(
        "[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
        f"default_days=30\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName={names}\n"
        "basicConstraints=critical,CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    _openssl(directory, "ca", "-batch", "-notext", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key",
             "-in", f"{name}.csr", "-out", f"{name}.pem", *validity)


def _openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, stdin=subprocess.DEVNULL, capture_output=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    make(Path(sys.argv[1]))
