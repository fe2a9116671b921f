"""Certificates as a person brings them: an issuer, a signer's certificate from it, and its key, as PEM files."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "P-192": lambda: ec.generate_private_key(ec.SECP192R1()),  # which C2PA does not have
}


@dataclass(frozen=True)
class Files:
    """PEM files: the signer's certificate with its issuer's, the key, the issuer's certificate alone."""

    chain: Path
    key: Path
    issuer: Path


def make_certificate(
    folder: Path,
    name: str = "A studio",
    kind: str = "P-256",
    usage: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.EMAIL_PROTECTION,),
    valid_s: tuple[float, float] = (-3600, 3600),
    password: bytes | None = None,
) -> Files:
    """``valid_s``: from and until when, seconds from now."""
    folder.mkdir(parents=True, exist_ok=True)
    issuer_key, key = KEYS["P-256"](), KEYS[kind]()
    issuer_name, own_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, where)])
        for text, where in (("An issuer", "Issuers"), (name, f"{name}, Limited"))
    )

    def sign(subject: x509.Name, public: Any, is_issuer: bool) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        begin, end = (now + datetime.timedelta(seconds=s) for s in valid_s)
        made = x509.CertificateBuilder(issuer_name, subject, public, x509.random_serial_number(), begin, end)
        made = made.add_extension(x509.BasicConstraints(is_issuer, None), True)
        signs = x509.KeyUsage(not is_issuer, False, False, False, False, is_issuer, is_issuer, False, False)
        made = made.add_extension(signs, True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        if not is_issuer:
            theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
            made = made.add_extension(theirs, False).add_extension(x509.ExtendedKeyUsage(usage), False)
        return made.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    issuer = sign(issuer_name, issuer_key.public_key(), True)
    hidden = NoEncryption() if password is None else BestAvailableEncryption(password)
    files = Files(folder / "chain.pem", folder / "key.pem", folder / "issuer.pem")
    files.chain.write_bytes(sign(own_name, key.public_key(), False) + issuer)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
    files.issuer.write_bytes(issuer)
    return files
