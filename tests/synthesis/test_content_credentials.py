"""Content Credentials: what they say, what they do not, what a changed file shows, and who may sign."""

from __future__ import annotations

import datetime
import errno
import importlib.metadata
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from s3dnerf.core.errors import SettingsError
from s3dnerf.synthesis import content_credentials
from s3dnerf.synthesis.c2pa_library import KEY_USAGES, MissingLibrary, offline_context
from s3dnerf.synthesis.content_credentials import sign_video, signing
from s3dnerf.synthesis.credentials_reading import (
    Credentials,
    NoCredentials,
    UnreadableCredentials,
    read_credentials,
)
from s3dnerf.synthesis.origin import Origin
from s3dnerf.synthesis.signers import SELF_SIGNED_NAME, Choice, Signer, chosen_signer, self_signed
from s3dnerf.synthesis.synthesizer import SynthesisError, write_video
from tests.certificates import KEYS, make_certificate

ORIGIN = Origin("full", "ab" * 32, "cd" * 32)


def video(path: Path, signer: Choice = "self-signed", px: int = 64) -> Path:
    frames = [np.random.default_rng(i).integers(0, 255, (px, px, 3), dtype=np.uint8) for i in range(5)]
    samples = 0.3 * np.sin(np.arange(3200) * 0.2).astype(np.float32)
    assert write_video(path, frames, samples, ORIGIN.comment, sign=signing(ORIGIN, signer)) == 5
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video(tmp_path_factory.mktemp("made") / "a.mp4")


def test_they_say_who_what_and_when(made: Path) -> None:
    found = read_credentials(made)
    claim = found.claim
    assert (found.intact, found.trusted, found.faults, found.earlier) == (True, False, {}, ())
    assert claim.program == f"s3dnerf {importlib.metadata.version('s3dnerf')}"
    assert claim.origin == ORIGIN and (claim.signer, claim.issuer) == (SELF_SIGNED_NAME, SELF_SIGNED_NAME)
    [action] = claim.actions
    assert (action.name, action.source) == ("c2pa.created", "trainedAlgorithmicMedia")
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(action.when)
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=10) and claim.stamped == ""
    assert claim.content_hash.startswith("sha256 ") and len(claim.content_hash) == 7 + 64


def test_other_tools_read_the_digital_source_type_and_nothing_of_the_person_is_in_it(made: Path) -> None:
    import c2pa

    with c2pa.Reader(str(made), context=offline_context()) as reader:
        manifest = reader.get_active_manifest()
    data = {assertion["label"]: assertion["data"] for assertion in manifest["assertions"]}
    assert set(data) == {"c2pa.actions.v2", "s3dnerf.synthesis", "c2pa.hash.bmff.v3"}
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert data["c2pa.actions.v2"]["actions"][0]["digitalSourceType"] == source
    assert set(data["s3dnerf.synthesis"]) == {"statement", "variant", "model_sha256", "settings_sha256"}
    assert "title" not in manifest and "thumbnail" not in manifest and not manifest.get("ingredients")
    everything = json.dumps(manifest)
    assert os.uname().nodename not in everything and str(Path.home()) not in everything


def test_no_two_files_are_signed_by_one_self_signed_certificate_and_no_key_is_kept(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    other = video(tmp_path / "b.mp4")
    assert read_credentials(other).claim.serial != read_credentials(made).claim.serial
    assert list((tmp_path / "home").iterdir()) == [] and sorted(p.name for p in tmp_path.iterdir()) == ["b.mp4", "home"]


def test_pictures_sound_and_metadata_are_those_of_the_unsigned_video(made: Path, tmp_path: Path) -> None:
    def content(path: Path) -> tuple[list[bytes], dict[str, str]]:
        with av.open(str(path)) as container:
            packets = [bytes(packet) for packet in container.demux() if packet.size]
            return packets, {name: container.metadata[name] for name in ("comment", "description")}

    plain = video(tmp_path / "plain.mp4", None)
    with pytest.raises(NoCredentials):
        read_credentials(plain)
    assert content(made) == content(plain) and content(made)[1]["comment"] == ORIGIN.comment


def boxes(data: bytes) -> dict[bytes, slice]:
    """The outermost boxes of an mp4, by their names."""
    found, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 8]] = slice(at, at + size)
        at += size
    return found


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


CHANGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a picture": (lambda data: flipped(data, boxes(data)[b"mdat"].start + 1000), "assertion.bmffHash.mismatch"),
    "the last byte": (lambda data: flipped(data, len(data) - 1), "assertion.bmffHash.mismatch"),
    "the comment": (lambda data: data.replace(b"did not say", b"did now say"), "assertion.bmffHash.mismatch"),
    "cut off": (lambda data: data[:-100], "assertion.bmffHash.mismatch"),
    "lengthened": (lambda data: data + b"\0\0\0\x10mdat12345678", "assertion.bmffHash.mismatch"),
    "the source": (lambda data: data.replace(b"trainedAlgorithmicM", b"untrainAlgorithmicM"), "hashedURI.mismatch"),
    "the model": (lambda data: data.replace(b"abababababab", b"abababababac", 1), "hashedURI.mismatch"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_since_shows(what: str, made: Path, tmp_path: Path) -> None:
    change, code = CHANGES[what]
    data = made.read_bytes()
    if what == "the model":  # the comment has the hash too, and stands after the credentials
        assert data.index(b"abababababab") in range(*boxes(data)[b"uuid"].indices(len(data)))
    changed = change(data)
    assert changed != data
    (tmp_path / "b.mp4").write_bytes(changed)
    found = read_credentials(tmp_path / "b.mp4")
    assert not found.intact and any(code in each for each in found.faults)


def test_no_single_byte_of_pictures_sound_or_metadata_can_be_changed_unseen(made: Path, tmp_path: Path) -> None:
    data, path = made.read_bytes(), tmp_path / "b.mp4"
    found = boxes(data)
    places = [at for name in (b"moov", b"mdat") for at in range(*found[name].indices(len(data)))]
    for at in np.random.default_rng(0).choice(places, 60, replace=False):
        path.write_bytes(flipped(data, int(at)))
        try:
            assert not read_credentials(path).intact, at
        except UnreadableCredentials:
            pass


@pytest.mark.parametrize(
    ("kind", "usage"),
    [
        ("P-256", "emailProtection"),
        ("P-384", "documentSigning"),
        ("RSA", "C2PA claim signing"),
        ("Ed25519", "emailProtection"),
    ],
)
def test_an_own_certificate_signs_and_its_issuer_may_be_trusted(kind: str, usage: str, tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "own", "A studio", kind, [ObjectIdentifier(KEY_USAGES[usage])])
    other = make_certificate(tmp_path / "other")
    signed = video(tmp_path / "a.mp4", Signer.load(files.chain, files.key))

    def trusting(issuer: Path | None) -> Credentials:
        return read_credentials(signed, None if issuer is None else issuer.read_text())

    assert [trusting(each).trusted for each in (None, files.issuer, other.issuer)] == [False, True, False]
    found = trusting(None)
    assert found.intact and (found.claim.signer, found.claim.issuer) == ("A studio", "A studio, Limited")


def test_the_environment_names_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_certificate(tmp_path / "own")
    monkeypatch.setenv("S3DNERF_CERTIFICATE", str(files.chain))
    with pytest.raises(SettingsError, match="^S3DNERF_CERTIFICATE: got it without S3DNERF_KEY — accepted: both"):
        signing(ORIGIN)
    monkeypatch.setenv("S3DNERF_KEY", str(files.key))
    assert read_credentials(video(tmp_path / "a.mp4", "default")).claim.signer == "A studio"
    assert read_credentials(video(tmp_path / "b.mp4", "self-signed")).claim.signer == SELF_SIGNED_NAME


def test_a_certificate_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path) -> None:
    good, other = make_certificate(tmp_path / "good"), make_certificate(tmp_path / "other")
    (tmp_path / "text.pem").write_text("not a certificate")
    closed = make_certificate(tmp_path / "closed", password=b"secret")
    tls = make_certificate(tmp_path / "tls", usage=[ExtendedKeyUsageOID.SERVER_AUTH])
    old = make_certificate(tmp_path / "old", valid_s=(-7200, -3600))
    reversed_ = make_certificate(tmp_path / "reversed")
    weak = make_certificate(tmp_path / "weak", kind="P-192")
    reversed_.chain.write_bytes(reversed_.issuer.read_bytes() + reversed_.chain.read_bytes())
    cases = [
        (good.chain, other.key, r"^--key: .*key.pem is not the key of the first certificate in .*A studio"),
        (reversed_.chain, reversed_.key, r"^--key: .*is not the key of the first certificate in .*An issuer"),
        (tmp_path / "no.pem", good.key, r"^--certificate: .*no.pem cannot be read: No such file"),
        (good.chain, tmp_path, r"^--key: .* cannot be read: Is a directory — expected a private key"),
        (tmp_path / "text.pem", good.key, r"^--certificate: .*text.pem holds no certificate that can be read"),
        (good.key, good.key, r"^--certificate: .*key.pem holds no certificate"),
        (good.chain, good.chain, r"^--key: .*chain.pem holds no private key that can be read — expected .* PEM"),
        (closed.chain, closed.key, r"^--key: .*key.pem has a password — expected a private key"),
        (weak.chain, weak.key, r"^--key: .* is a key of another kind — accepted: elliptic curve P-256"),
        (tls.chain, tls.key, r"^--certificate: C2PA refuses .*certificate is invalid.* emailProtection"),
        (old.chain, old.key, r"^--certificate: C2PA refuses .*not valid at time of signing"),
    ]
    for certificate, key, said in cases:
        with pytest.raises(SettingsError, match=said) as refused:
            chosen_signer(certificate, key, "--")
        assert "\n" not in str(refused.value)
    with pytest.raises(SettingsError, match="^--key: got it without --certificate — accepted: both, or neither"):
        chosen_signer(None, good.key, "--")
    assert "BEGIN" not in repr(Signer.load(good.chain, good.key)).partition("key_pem")[2] and len(KEYS) == 5


def test_without_the_library_the_comment_alone_is_written_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_certificate(tmp_path / "own")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with caplog.at_level(logging.WARNING):
        made = video(tmp_path / "a.mp4")
    assert caplog.messages == [
        "c2pa-python is not installed (pip install c2pa-python): the video gets no Content Credentials, only the "
        "comment in its metadata that says it is synthetic"
    ]
    with av.open(str(made)) as container:
        assert container.metadata["comment"] == ORIGIN.comment
    with pytest.raises(SettingsError, match="^certificate: c2pa-python is not installed"):
        chosen_signer(files.chain, files.key)
    with pytest.raises(MissingLibrary):
        read_credentials(made)


def test_a_disk_that_is_full_when_it_is_signed_is_named(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    plain = video(tmp_path / "plain.mp4", None)

    def onto_a_full_disk(finished: Path, signed: Path) -> None:
        sign_video(finished, Path("/dev/full"), ORIGIN, self_signed())

    with pytest.raises(OSError) as full:
        onto_a_full_disk(plain, tmp_path / "signed")
    assert full.value.errno == errno.ENOSPC
    frames = [np.zeros((64, 64, 3), np.uint8)]
    with pytest.raises(OSError, match="No space left on device.*b.mp4"):
        write_video(tmp_path / "b.mp4", frames, np.full(640, 0.1, np.float32), "x", sign=onto_a_full_disk)
    assert [p.name for p in tmp_path.iterdir()] == ["plain.mp4"]


def test_a_signal_while_it_is_signed_ends_it_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked: list[int] = []
    read = content_credentials._Watched.readinto

    def interrupted(self: content_credentials._Watched, buffer: object) -> int:
        if not asked:
            asked.append(1)
            os.kill(os.getpid(), signal.SIGINT)
        return read(self, buffer)

    monkeypatch.setattr(content_credentials._Watched, "readinto", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            video(tmp_path / "a.mp4", px=256)
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked and not list(tmp_path.iterdir()) and capsys.readouterr() == ("", "")


def test_what_the_library_refuses_names_the_video_and_leaves_nothing(tmp_path: Path) -> None:
    chain = self_signed()
    other = Signer(chain.chain_pem, self_signed().key_pem, chain.algorithm)
    with pytest.raises(
        SynthesisError, match=r"a.mp4 cannot be written: Content Credentials cannot be added: Signature"
    ):
        video(tmp_path / "a.mp4", other)
    assert not list(tmp_path.iterdir())
