"""A certificate authority of the test's own, and a server's certificate from it."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def authority(place: Path) -> tuple[Path, ssl.SSLContext]:
    """Return the authority's PEM file and a context for a server on 127.0.0.1."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name("tests' own authority"), _name("127.0.0.1")
    root = _certificate(root_name, root_name, root_key, root_key, None)
    leaf = _certificate(name, root_name, key, root_key, ipaddress.ip_address("127.0.0.1"))
    (place / "ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (place / "server.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + leaf.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "server.pem")
    return place / "ca.pem", context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True)
    )  # fmt: skip
    if address is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(address)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())
