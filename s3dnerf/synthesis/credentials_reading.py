"""What the C2PA Content Credentials of a file say, whoever wrote them, and whether the file is as it was signed.

Read by c2pa-python, the library of C2PA's authors, without a network: credentials that lie elsewhere are not fetched,
and whether a certificate was revoked is not asked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.synthesis.c2pa_library import c2pa_library, offline_context
from s3dnerf.synthesis.content_credentials import LABEL
from s3dnerf.synthesis.origin import Origin

UNTRUSTED = "signingCredential.untrusted"  # reported of every signer whose issuer was not given as trusted


class NoCredentials(S3DNeRFError, LookupError):
    """The file has no Content Credentials in it."""


class UnreadableCredentials(S3DNeRFError, ValueError):
    """There are Content Credentials, or a file that might hold some, and they cannot be read: it is damaged."""


@dataclass(frozen=True)
class Action:
    """One thing that was done to the file, as its signer says.

    Attributes
    ----------
    name : of C2PA, such as ``c2pa.created``
    source : IPTC's word for how the content came to be, such as ``trainedAlgorithmicMedia``; '' where it is not said
    when : ISO 8601, the signer's own clock; '' where it is not said
    """

    name: str
    source: str
    when: str


@dataclass(frozen=True)
class Claim:
    """What one signer says of the file, or of one that it was made of.

    Attributes
    ----------
    program : that wrote the credentials, with its version
    actions : in their order
    signer, issuer : the signer's name and its organization, as its certificate has them; '' where it names none
    serial : the certificate's number, decimal
    stamped : when a time-stamp authority saw the signature, ISO 8601; '' where none was asked
    origin : what our own programs add; None in anybody else's
    content_hash : the signed hash of the file's content, ``sha256 <hex>``; '' where there is none of the whole file
    """

    program: str
    actions: tuple[Action, ...]
    signer: str
    issuer: str
    serial: str
    stamped: str
    origin: Origin | None
    content_hash: str


@dataclass(frozen=True)
class Credentials:
    """All credentials of a file.

    Attributes
    ----------
    claim : the last signer's, of the file as it is
    earlier : those of the files that it was made of
    intact : whether the file is as it was signed, and the signature valid
    trusted : whether the certificate comes from an issuer that was given as trusted
    faults : what does not fit, C2PA's codes with their explanations; empty where ``intact``
    """

    claim: Claim
    earlier: tuple[Claim, ...]
    intact: bool
    trusted: bool
    faults: dict[str, str]


def read_credentials(path: str | Path, trust_pem: str | None = None) -> Credentials:
    """The Content Credentials of a file.

    Parameters
    ----------
    path : of any kind that C2PA knows; by its content, not its name
    trust_pem : certificates of issuers that are trusted, PEM

    Raises NoCredentials, UnreadableCredentials; MissingLibrary without c2pa-python; OSError where it cannot be opened.
    """
    c2pa = c2pa_library()
    with open(path, "rb") as handle:
        try:
            with c2pa.Reader(handle, context=offline_context(trust_pem)) as reader:
                found = json.loads(reader.json())
        except c2pa.C2paError as error:
            raise _why_none(c2pa, error) from error
    return _credentials(found)


def _why_none(c2pa: Any, error: Exception) -> S3DNeRFError:
    said = " ".join(str(error).split())
    if isinstance(error, c2pa.C2paError.ManifestNotFound):
        return NoCredentials("there are none in it")
    if isinstance(error, c2pa.C2paError.NotSupported):
        return NoCredentials("C2PA knows none in files of this kind")
    if "remote manifest" in said:
        return NoCredentials(f"there are none in it, it only says where they lie ({said}): not fetched")
    return UnreadableCredentials(said)


def _credentials(found: Mapping[str, Any]) -> Credentials:
    manifests, active = found.get("manifests", {}), found.get("active_manifest")
    if active not in manifests:
        raise UnreadableCredentials("the last signer's statement is not among those that are in it")
    results = found.get("validation_results", {})
    failures = list(results.get("activeManifest", {}).get("failure", []))
    for delta in results.get("ingredientDeltas", []):
        failures += delta.get("validationDeltas", {}).get("failure", [])
    state = found.get("validation_state")
    faults = {each["code"]: each.get("explanation", "") for each in failures if each["code"] != UNTRUSTED}
    earlier = tuple(_claim(manifest) for label, manifest in manifests.items() if label != active)
    return Credentials(_claim(manifests[active]), earlier, state in ("Valid", "Trusted"), state == "Trusted", faults)


def _claim(manifest: Mapping[str, Any]) -> Claim:
    actions: list[Action] = []
    origin, content_hash = None, ""
    for assertion in manifest.get("assertions", []):
        label, data = assertion["label"], assertion.get("data")
        if not isinstance(data, Mapping):  # a picture, or another file
            continue
        if label.startswith("c2pa.actions"):
            actions += map(_action, data.get("actions", []))
        elif label.startswith(("c2pa.hash.bmff", "c2pa.hash.data")) and "hash" in data:
            digest = data["hash"]
            raw = base64.b64decode(digest) if isinstance(digest, str) else bytes(digest)
            content_hash = f"{data.get('alg', 'sha256')} {raw.hex()}"
        elif label == LABEL:
            origin = Origin(*(str(data.get(name, "")) for name in ("variant", "model_sha256", "settings_sha256")))
    signature = manifest.get("signature_info", {})
    programs = manifest.get("claim_generator_info") or [{"name": manifest.get("claim_generator", "")}]
    signer, issuer, serial, stamped = (
        str(signature.get(name) or "") for name in ("common_name", "issuer", "cert_serial_number", "time")
    )
    return Claim(_program(programs[0]), tuple(actions), signer, issuer, serial, stamped, origin, content_hash)


def _action(data: Mapping[str, Any]) -> Action:
    source = str(data.get("digitalSourceType") or "").rpartition("/")[2]
    return Action(str(data.get("action", "")), source, str(data.get("when") or ""))


def _program(given: Any) -> str:
    """A program's name and version; older credentials have them as one text."""
    if isinstance(given, Mapping):
        return " ".join(str(given[key]) for key in ("name", "version") if given.get(key))
    return str(given or "")
