"""Signatures of reports: made, checked, and refused for other bytes, other keys and what is no key."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from flows import audit
from flows.audit import audit_command, folder_report
from flows.signing import KEY, SIGNERS, make_keys, private_key, sign, signed_by, signer_files
from s3dnerf.core.errors import SettingsError
from s3dnerf.reporting.audit import manifest
from s3dnerf.reporting.report_files import MANIFEST, SIGNATURE, Finding
from tests.reporting.small_report import make_report, rows_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "reports" / "tiny"
    place.mkdir(parents=True)
    for name, data in make_report("tiny", rows_of(3)).files.items():
        (place / name).write_bytes(data)
    return place


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path / "keys" / "team.pem")


def test_a_signed_report_is_known_by_its_signer(folder: Path, keys: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600 and keys[1].name == "team.pub.pem"
    sign(folder, private_key(keys[0]))
    report = folder_report(folder)
    found = signed_by(report, [keys[1]])
    assert found == Finding("signature", True, "by team.pub.pem")
    assert manifest(report).passed  # which lists no signature
    open_question = signed_by(report, [])
    assert open_question.passed and "--signer" in open_question.unchecked


def test_other_bytes_other_keys_and_no_signature_fail(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    _, stranger = make_keys(tmp_path / "stranger.pem")
    assert "nobody signed" in signed_by(folder_report(folder), [keys[1]]).detail
    sign(folder, private_key(keys[0]))
    assert "none of those asked for" in signed_by(folder_report(folder), [stranger]).detail
    signature = json.loads((folder / SIGNATURE).read_text())
    for changed in (
        b"",
        b"{}",
        b"[1]",
        json.dumps(signature | {"signature": "no base64"}).encode(),
        json.dumps(signature | {"public_key": "AAAA"}).encode(),
    ):
        (folder / SIGNATURE).write_bytes(changed)
        found = signed_by(folder_report(folder), [keys[1]])
        assert not found.passed and "is no signature" in found.detail
    # the stranger's name over the team's signature
    named = json.loads((sign(folder, private_key(tmp_path / "stranger.pem"))).read_text())["public_key"]
    (folder / SIGNATURE).write_text(json.dumps(signature | {"public_key": named}))
    assert f"of another {MANIFEST}" in signed_by(folder_report(folder), [keys[1]]).detail
    (folder / SIGNATURE).write_text(json.dumps(signature))
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes() + b"\n")
    assert f"of another {MANIFEST}" in signed_by(folder_report(folder), [keys[1]]).detail


def test_only_what_passes_is_signed(
    folder: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [Finding("summary", False, "not what clips.parquet gives"), Finding("signature", False, "of another one")]
    monkeypatch.setattr(audit, "run_verify", lambda *given: answers)
    assert audit_command("sign", (), folder, "tiny", key=keys[0]) == 1
    assert "not signed: 1 rules fail" in capsys.readouterr().out and not (folder / SIGNATURE).exists()
    answers.pop(0)
    monkeypatch.setenv(KEY, str(keys[0]))
    assert audit_command("sign", (), folder, "tiny") == 0 and signed_by(folder_report(folder), [keys[1]]).passed


def test_keys_by_environment_and_what_is_none(
    keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_keys(tmp_path / "other.pem")[1]
    environment = {SIGNERS: f"{keys[1].parent}:{other}"}
    assert signer_files([], environment) == [keys[1], other] and signer_files([other], environment) == [other]
    assert signer_files([], {}) == []
    with pytest.raises(SettingsError, match="is there already"):
        make_keys(keys[0])
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(SettingsError, match="got no key"):
        private_key(None)
    text = tmp_path / "text.pem"
    text.write_text("no key")
    with pytest.raises(SettingsError, match="no private key"):
        private_key(text)
    wrong = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    text.write_bytes(wrong)
    with pytest.raises(SettingsError, match="expected an Ed25519 key"):
        private_key(text)
