"""Signatures of reports: Ed25519, over the manifest, which lists every other file with its hash.

``s3dnerf audit key`` makes a pair of keys, ``audit sign`` writes ``MANIFEST.signature.json`` beside the manifest, and
``audit verify --signer`` asks for a signature by a key that the auditor got elsewhere. Keys are PEM files as openssl
writes them too. Where keys lie is the machine's affair: ``S3DNERF_SIGNING_KEY``, a private key; ``S3DNERF_SIGNERS``,
public keys or folders of ``*.pub.pem``, joined as in PATH.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from s3dnerf.core.errors import SettingsError
from s3dnerf.reporting.report_files import MANIFEST, SIGNATURE, Finding, Report
from s3dnerf.video.packs import write_atomic

KEY, SIGNERS = "S3DNERF_SIGNING_KEY", "S3DNERF_SIGNERS"
PUBLIC = ".pub.pem"
# before the manifest, so that a signature means this and nothing else
MEANS = b"s3dnerf report 1\n"


def make_keys(path: Path) -> tuple[Path, Path]:
    """Write a new private key (readable by its owner alone) and its public one beside it. Raises SettingsError where
    either is there already: a key is never overwritten.
    """
    public = path.with_name(path.name.removesuffix(".pem") + PUBLIC)
    for there in (path, public):
        if there.exists():
            raise SettingsError(f"{there}: is there already — expected a new name for a key")
    key = Ed25519PrivateKey.generate()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(key.private_bytes(pem, form, serialization.NoEncryption()))
    write_atomic(public, key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return path, public


def _raw(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()


def private_key(path: Path | None) -> Ed25519PrivateKey:
    """A private key from a file, or from the one that ``S3DNERF_SIGNING_KEY`` names. Raises SettingsError."""
    named = path or (Path(os.environ[KEY]) if os.environ.get(KEY) else None)
    if named is None:
        raise SettingsError(f"audit sign: got no key — expected --key FILE or {KEY}; s3dnerf audit key makes one")
    try:
        key = serialization.load_pem_private_key(named.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{named}: no private key ({error}) — expected an Ed25519 key without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{named}: got a {type(key).__name__} — expected an Ed25519 key")
    return key


def signer_files(given: Sequence[Path], environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Public keys by name: those given, else those of ``S3DNERF_SIGNERS``; a folder stands for its ``*.pub.pem``."""
    named = given or [Path(part) for part in environment.get(SIGNERS, "").split(os.pathsep) if part]
    return [file for path in named for file in (sorted(path.glob(f"*{PUBLIC}")) if path.is_dir() else [path])]


def public_key(path: Path) -> Ed25519PublicKey:
    """A public key from a file. Raises SettingsError."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path}: no public key ({error}) — expected an Ed25519 public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{path}: got a {type(key).__name__} — expected an Ed25519 public key")
    return key


def sign(folder: Path, key: Ed25519PrivateKey) -> Path:
    """Sign the manifest of a report's folder. Returns the signature's file."""
    signature = key.sign(MEANS + (folder / MANIFEST).read_bytes())
    content = {
        "algorithm": "ed25519",
        "public_key": _raw(key.public_key()),
        "signature": base64.b64encode(signature).decode(),
    }
    write_atomic(folder / SIGNATURE, (json.dumps(content, indent=1) + "\n").encode())
    return folder / SIGNATURE


def signed_by(report: Report, signers: Sequence[Path]) -> Finding:
    """The manifest is signed by one of the keys. Without keys: by the one that the signature names, whosesoever it is.

    Raises SettingsError for a key that cannot be read.
    """
    rule, keys = "signature", {_raw(public_key(path)): path for path in signers}
    data = report.files.get(SIGNATURE)
    if data is None:
        return Finding(rule, False, f"no {SIGNATURE}: nobody signed this report")
    try:
        content = json.loads(data)
        named, signature = str(content["public_key"]), base64.b64decode(content["signature"], validate=True)
        Ed25519PublicKey.from_public_bytes(base64.b64decode(named, validate=True)).verify(
            signature, MEANS + report.files.get(MANIFEST, b"")
        )
    except (ValueError, KeyError, TypeError):
        return Finding(rule, False, f"{SIGNATURE} is no signature: expected what s3dnerf audit sign writes")
    except InvalidSignature:
        return Finding(rule, False, f"{SIGNATURE} is of another {MANIFEST}")
    if not keys:
        return Finding(rule, True, f"by the key {named}", "whose key that is: name the one you trust with --signer")
    if named not in keys:
        return Finding(rule, False, f"signed with the key {named}, which is none of those asked for")
    return Finding(rule, True, f"by {keys[named].name}")
