"""Who signs a video's Content Credentials: an own certificate, or one that is made for one file alone.

A signer of C2PA needs a certificate that an issuer signed. :func:`self_signed` makes both, the issuer too, and says so
in both names. The keys are kept nowhere: a key in a person's folder would have to be guarded, and would show of any two
videos that the same person made them, while it would prove no more about who that is.

An own certificate is read from PEM files (:meth:`Signer.load`, :func:`chosen_signer`) and tried on a file of 28 bytes,
so that one that C2PA refuses is found before any work.
"""

from __future__ import annotations

import datetime
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.file_names import shown
from s3dnerf.synthesis.c2pa_library import KEY_USAGES, TRAINED_MEDIA, c2pa_library, offline_context, why_missing

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SELF_SIGNED_NAME = "S3D-NeRF self-signed, verified by nobody"
CERTIFICATE, KEY = "S3DNERF_CERTIFICATE", "S3DNERF_KEY"  # environment variables
PROFILE = (
    "expected a certificate of X.509 version 3 that an issuer signed, the signer's own before its issuers', with key "
    f"usage digitalSignature and one of the extended key usages {', '.join(KEY_USAGES)} "
    "(docs/how-to/content_credentials.md)"
)
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
SMALLEST_MP4 = b"\0\0\0\x14ftypisom\0\0\0\0isom\0\0\0\x08mdat"
CLOCKS_APART = datetime.timedelta(days=1)  # by which a reader's clock may be behind
NO_EXPIRY = datetime.datetime(9999, 12, 31, 23, 59, 59)  # RFC 5280, 4.1.2.5; the key is gone, so nobody can misuse it


@dataclass(frozen=True)
class Signer:
    """A certificate with its key.

    Attributes
    ----------
    chain_pem : the signer's certificate, then its issuers', PEM
    key_pem : its private key, PKCS #8 PEM without a password
    algorithm : C2PA's name of the signature: es256, es384, es512, ps256 or ed25519
    """

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    algorithm: str

    @classmethod
    def load(cls, certificate: str | Path, key: str | Path, dashes: str = "") -> Signer:
        """An own certificate and its private key from PEM files, tried out.

        Raises SettingsError, naming the setting (after ``dashes``), where a file cannot be read, is of another kind or
        has a password, the two do not belong together, C2PA does not accept the certificate, or c2pa-python is missing.
        """
        missing = why_missing()
        if missing:
            raise SettingsError(f"{dashes}certificate: {missing}")
        chain_pem, leaf = read_certificates(Path(certificate), f"{dashes}certificate")
        key_pem, public, algorithm = _read_key(Path(key), f"{dashes}key")
        if public != _public_bytes(leaf.public_key()):
            raise SettingsError(
                f"{dashes}key: {shown(key)} is not the key of the first certificate in {shown(certificate)} "
                f"({shown(leaf.subject.rfc4514_string())}): expected the private key that belongs to it"
            )
        signer = cls(chain_pem, key_pem, algorithm)
        try:
            signer.try_out()
        except c2pa_library().C2paError as refused:
            why = " ".join(str(refused).split())
            raise SettingsError(f"{dashes}certificate: C2PA refuses {shown(certificate)} ({why}) — {PROFILE}") from None
        return signer

    def native(self) -> Any:
        """The signer as c2pa-python has it, without a time-stamp authority. Raises C2paError."""
        c2pa = c2pa_library()
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(self.algorithm, self.chain_pem, self.key_pem, None))

    def try_out(self) -> None:
        """Sign the smallest mp4, in memory. Raises C2paError where that is refused."""
        c2pa = c2pa_library()
        created = {"actions": [{"action": "c2pa.created", "digitalSourceType": TRAINED_MEDIA}]}
        manifest = {
            "claim_generator_info": [{"name": "s3dnerf"}],
            "assertions": [{"label": "c2pa.actions.v2", "data": created}],
        }
        with self.native() as signer, c2pa.Builder(manifest, context=offline_context()) as builder:
            builder.sign(signer, "video/mp4", io.BytesIO(SMALLEST_MP4), io.BytesIO())


Choice = Signer | Literal["default", "self-signed"] | None


def chosen_signer(
    certificate: str | Path | None = None,
    key: str | Path | None = None,
    dashes: str = "",
    environment: Mapping[str, str] = os.environ,
) -> Signer | Literal["self-signed"]:
    """The signer that was asked for: by these files; else by the environment variables ``S3DNERF_CERTIFICATE`` and
    ``S3DNERF_KEY``; else ``self-signed``.

    Raises SettingsError as :meth:`Signer.load`, and where only one of the two is given.
    """
    names = f"{dashes}certificate", f"{dashes}key"
    if certificate is None and key is None:
        certificate, key = environment.get(CERTIFICATE) or None, environment.get(KEY) or None
        names = CERTIFICATE, KEY
    if certificate is None and key is None:
        return "self-signed"
    if certificate is None or key is None:
        given, other = names if key is None else names[::-1]
        raise SettingsError(f"{given}: got it without {other} — accepted: both, or neither")
    return Signer.load(certificate, key, dashes)


def self_signed() -> Signer:
    """A certificate with an issuer of its own, for one file: it shows changes, and proves nothing about who signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    issuer_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def named(common: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, SELF_SIGNED_NAME)
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common), organization])

    def certificate(subject: x509.Name, of: ec.EllipticCurvePrivateKey, signs_others: bool) -> x509.Certificate:
        begin = datetime.datetime.now(datetime.UTC) - CLOCKS_APART
        builder = x509.CertificateBuilder(named("S3D-NeRF issuer of one file"), subject, of.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(NO_EXPIRY)
        usage = x509.KeyUsage(not signs_others, False, False, False, False, signs_others, signs_others, False, False)
        builder = builder.add_extension(x509.BasicConstraints(signs_others, 0 if signs_others else None), True)
        builder = builder.add_extension(usage, True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), False)
        if not signs_others:
            theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
            builder = builder.add_extension(theirs, False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(issuer_key, hashes.SHA256())

    own = certificate(named(SELF_SIGNED_NAME), key, False)
    issuer = certificate(named("S3D-NeRF issuer of one file"), issuer_key, True)
    return Signer(_pem(own) + _pem(issuer), _key_pem(key), "es256")


def _read(path: Path, option: str, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{option}: {shown(path)} cannot be read: {error.strerror} — expected {expected}") from None


def read_certificates(
    path: Path, option: str, expected: str = "a PEM file: the signer's certificate, then its issuers'"
) -> tuple[bytes, Certificate]:
    """All certificates of a PEM file, as PEM, and the first of them. Raises SettingsError, naming the ``option``."""
    from cryptography import x509

    data = _read(path, option, expected)
    try:
        chain = x509.load_pem_x509_certificates(data)
    except ValueError:
        got = f"{shown(path)} holds no certificate that can be read"
        raise SettingsError(f"{option}: {got} — expected {expected}") from None
    return b"".join(map(_pem, chain)), chain[0]


def _read_key(path: Path, option: str) -> tuple[bytes, bytes, str]:
    """A private key as PKCS #8 PEM, its public half and the name of its signatures."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    expected = "a private key in PEM without a password"
    data = _read(path, option, expected)
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise SettingsError(f"{option}: {shown(path)} has a password — expected {expected}") from None
    except (ValueError, UnsupportedAlgorithm):
        got = f"{shown(path)} holds no private key that can be read"
        raise SettingsError(f"{option}: {got} — expected {expected}") from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        algorithm = CURVES[key.curve.name]
    elif isinstance(key, rsa.RSAPrivateKey):
        algorithm = "ps256"
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    else:
        raise SettingsError(
            f"{option}: {shown(path)} is a key of another kind — accepted: elliptic curve P-256, P-384 or P-521, RSA, "
            "Ed25519"
        )
    return _key_pem(key), _public_bytes(key.public_key()), algorithm


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_bytes(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
