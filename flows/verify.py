"""``s3dnerf verify``: who says what of a video in its Content Credentials, and whether it was changed since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from s3dnerf.core.errors import SettingsError

if TYPE_CHECKING:
    from s3dnerf.synthesis.credentials_reading import Claim, Credentials

INTACT, CHANGED, NONE = 0, 3, 4
SOURCES = {
    "trainedAlgorithmicMedia": "synthetic, made by a trained model",
    "compositeWithTrainedAlgorithmicMedia": "partly synthetic, put together with what a trained model made",
    "compositeSynthetic": "partly synthetic, put together with synthetic parts",
    "algorithmicMedia": "synthetic, made by a program without a trained model",
    "dataDrivenMedia": "synthetic, drawn from data",
    "virtualRecording": "a recording of something virtual",
    "digitalCreation": "made by a person with a program",
    "digitalCapture": "taken by a camera",
    "computationalCapture": "taken by a camera that puts several pictures together",
    "screenCapture": "a recording of a screen",
}
CODES = {
    "assertion.bmffHash.mismatch": "its pictures, sound or metadata are not those that were signed",
    "assertion.dataHash.mismatch": "its content is not the one that was signed",
    "assertion.hashedURI.mismatch": "a statement in its credentials is not the one that was signed",
    "claimSignature.mismatch": "the signature does not belong to its credentials",
    "claimSignature.missing": "the signature is missing",
    "signingCredential.expired": "the certificate is not valid any more, and no time-stamp says that it was",
    "signingCredential.invalid": "the certificate is not one that C2PA accepts",
    "signingCredential.revoked": "the certificate was revoked",
}


def verify(file: Annotated[Path, tyro.conf.Positional], trust: Path | None = None) -> int:
    """Say what a video's C2PA Content Credentials state: who signed, what it is, when, and whether it was changed.

    Exit status 0: there are credentials, and the file is as it was signed. 3: the file or its credentials were changed,
    or the certificate is not valid. 4: there are none in it. 1 and 2: it cannot be looked at. Nothing is fetched from a
    network.

    Args:
        file: A video, made here or by anybody.
        trust: Certificates of issuers whose word you take for who signed (PEM).
    """
    from s3dnerf.core.file_names import shown
    from s3dnerf.synthesis.c2pa_library import c2pa_library
    from s3dnerf.synthesis.credentials_reading import NoCredentials, UnreadableCredentials, read_credentials
    from s3dnerf.synthesis.signers import read_certificates
    from s3dnerf.video.encoding import VideoError

    c2pa_library()  # without it nothing can be said
    _check_video(file)
    anchors = None
    if trust is not None:
        anchors = read_certificates(trust, "--trust", "a PEM file with issuers' certificates")[0].decode()
    comment, fault = "", None
    try:
        comment = _comment(file)
    except VideoError as error:
        fault = error
    try:
        credentials = read_credentials(file, anchors)
    except NoCredentials as none:
        if fault is not None:
            raise fault from None
        print(f"{shown(file)}: no Content Credentials: {none}.")
        status = NONE
    except UnreadableCredentials as broken:
        print(f"{shown(file)}: CHANGED OR DAMAGED: what Content Credentials it may have cannot be read ({broken}).")
        status = CHANGED
    else:
        for line in _sentences(shown(file), credentials):
            print(line)
        status = INTACT if credentials.intact else CHANGED
    print(_about_comment(comment))
    if fault is not None:
        print(f"Players may refuse it: {shown(str(fault))}.")
    return status


def _check_video(file: Path) -> None:
    """Raise SettingsError for what is no video."""
    from s3dnerf.core.file_names import shown
    from s3dnerf.video.file_kinds import IN_WORDS, kind_of
    from s3dnerf.video.signatures import VIDEO

    if file.is_dir():
        raise SettingsError(f"{shown(file)}: a folder — expected a video")
    try:
        kind = kind_of(file)
    except FileNotFoundError:
        raise SettingsError(f"{shown(file)}: no such file — expected a video") from None
    if kind != VIDEO:
        raise SettingsError(f"{shown(file)}: {IN_WORDS[kind]} — expected a video")


def _comment(file: Path) -> str:
    """The comment in a video's metadata. Raises VideoError for what cannot be opened as a video."""
    from s3dnerf.video.media import open_pictures

    container, _ = open_pictures(str(file))
    with container:
        return container.metadata.get("comment", "")


def _about_comment(comment: str) -> str:
    from s3dnerf.core.file_names import shown
    from s3dnerf.synthesis.origin import STATEMENT

    if comment.startswith(STATEMENT):
        return f'Metadata: its comment says that it is synthetic: "{shown(comment)}". Anybody can write or remove that.'
    return "Metadata: no comment that says it is synthetic."


def _sentences(name: str, found: Credentials) -> list[str]:
    if found.intact:
        lines = [f"{name}: has Content Credentials, and was not changed since they were signed."]
    else:
        why = "; ".join(CODES.get(code, f"{said} ({code})") for code, said in found.faults.items())
        lines = [f"{name}: CHANGED, or its signature is not valid: {why or 'no reason is given'}. It says, unproven:"]
    lines += [*_of_claim(found.claim), _of_signer(found)]
    for claim in found.earlier:
        lines.append("It was made of a file with credentials of its own:")
        lines += [f"  {line}" for line in _of_claim(claim)]
    return lines


def _of_claim(claim: Claim) -> list[str]:
    from s3dnerf.core.file_names import shown

    lines = []
    for action in claim.actions:
        if action.source:
            lines.append(f"What: {SOURCES.get(action.source, shown(action.source))} ({shown(action.source)}).")
    done = dict.fromkeys(action.name.removeprefix("c2pa.") for action in claim.actions if action.name)
    if done:
        lines.append(f"Actions: {shown(', '.join(done))}.")
    lines.append(f"Written by: {shown(claim.program) or 'a program that it does not name'}.")
    if claim.origin is not None:
        origin = claim.origin
        lines.append(f"Model: S3D-NeRF, variant {shown(origin.variant)}, sha256 {shown(origin.model_sha256)}.")
        lines.append(f"Settings: sha256 {shown(origin.settings_sha256)}.")
    whens = dict.fromkeys(action.when for action in claim.actions if action.when)
    if claim.stamped:
        lines.append(f"When: {shown(claim.stamped)}, by a time-stamp authority.")
    elif whens:
        lines.append(f"When: {shown(', '.join(whens))}, by the signer's own clock; nobody else confirms it.")
    else:
        lines.append("When: not said.")
    if claim.content_hash:
        lines.append(f"Content: {shown(claim.content_hash)}, as signed.")
    return lines


def _of_signer(found: Credentials) -> str:
    from s3dnerf.core.file_names import shown
    from s3dnerf.synthesis.signers import SELF_SIGNED_NAME

    claim = found.claim
    named = f'"{shown(claim.signer or claim.issuer or "no name")}"'
    if claim.issuer and claim.issuer != claim.signer:
        named += f' of "{shown(claim.issuer)}"'
    named += f" (certificate number {shown(claim.serial)})"
    if found.trusted:
        return f"Signed by: {named}; its issuer is one of those that you trust."
    if SELF_SIGNED_NAME in (claim.signer, claim.issuer):
        return (
            f"Signed by: {named}; self-signed: anybody can make a certificate like it, and sign with it what they"
            " changed, so it proves nothing about who made the video."
        )
    return (
        f"Signed by: {named}; no issuer that you named with --trust stands behind it, so it is no proof of who that is."
    )
