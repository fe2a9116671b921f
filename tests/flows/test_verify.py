"""``s3dnerf verify``: what a person reads of a video's Content Credentials, and that a changed one is told from it."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from s3dnerf.synthesis.c2pa_library import TRAINED_MEDIA, offline_context
from s3dnerf.synthesis.signers import Signer, self_signed
from s3dnerf.video.encoding import ffmpeg_path
from s3dnerf.video.packs import file_sha256
from tests.certificates import make_certificate
from tests.flows.test_outputs import words


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video as ``s3dnerf synthesize`` writes it."""
    folder = tmp_path_factory.mktemp("finished")
    command = [sys.executable, "-m", "flows.cli", *words(kit, folder / "a.mp4")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.endswith("synthetic, and its metadata says so, as do its Content Credentials\n")
    return folder / "a.mp4"


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", *map(str, arguments)], check=True)


def test_a_video_as_it_was_made(finished: Path, kit: Path, here: Path, typed) -> None:
    shutil.copyfile(finished, "renamed.mov")
    status, said, wrong = typed("verify", "renamed.mov")
    lines = said.splitlines()
    assert (status, wrong) == (0, "")
    assert lines[0] == "renamed.mov: has Content Credentials, and was not changed since they were signed."
    assert lines[1] == "What: synthetic, made by a trained model (trainedAlgorithmicMedia)."
    weights = file_sha256(kit / "model/generator.safetensors")
    assert f"Model: S3D-NeRF, variant full, sha256 {weights}." in lines
    assert re.search(r"^Written by: s3dnerf \d", said, re.M) and re.search(
        r"^Settings: sha256 [0-9a-f]{64}\.$", said, re.M
    )
    assert re.search(r"^When: 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ, by the signer's own clock; nobody else", said, re.M)
    assert re.search(r"^Content: sha256 [0-9a-f]{64}, as signed\.$", said, re.M)
    assert re.search(
        r"^Signed by: \"S3D-NeRF self-signed.*so it proves nothing about who made the video\.$", said, re.M
    )
    assert (
        f'comment says that it is synthetic: "Synthetic: this person did not say this. Made by S3D-NeRF (full), model sha256 {weights}'
        in lines[-1]
    )


@pytest.mark.parametrize("where", ["pictures", "credentials"])
def test_after_one_changed_byte(where: str, finished: Path, here: Path, typed) -> None:
    data = bytearray(finished.read_bytes())
    at = len(data) - 50 if where == "pictures" else data.index(b"settings_sha256") + 20
    data[at] ^= 1
    Path("b.mp4").write_bytes(data)
    status, said, wrong = typed("verify", "b.mp4")
    because = {
        "pictures": "its pictures, sound or metadata are not those that were signed",
        "credentials": "a statement in its credentials is not the one that was signed",
    }
    assert (status, wrong) == (3, "")
    assert said.startswith(f"b.mp4: CHANGED, or its signature is not valid: {because[where]}. It says, unproven:\n")
    assert "not changed" not in said and "Signed by: " in said


def test_credentials_that_cannot_be_read_any_more(finished: Path, here: Path, typed) -> None:
    data = finished.read_bytes()
    Path("b.mp4").write_bytes(data.replace(b"c2pa.actions.v2", b"c2pa.actionz.v2", 1))
    status, said, _ = typed("verify", "b.mp4")
    assert status == 3 and said.startswith("b.mp4: CHANGED OR DAMAGED: what Content Credentials it may have cannot be")


def test_after_a_new_encoding_they_are_gone(finished: Path, here: Path, typed) -> None:
    ffmpeg("-i", finished, "-c:v", "libx264", "-crf", "28", "b.mp4")
    ffmpeg("-i", finished, "-c", "copy", "-map_metadata", "-1", "c.mp4")
    ffmpeg("-i", finished, "-c", "copy", "d.mkv")
    b, c, d = (typed("verify", name) for name in ("b.mp4", "c.mp4", "d.mkv"))
    assert [each[0] for each in (b, c, d)] == [4, 4, 4]
    assert b[1].startswith(
        "b.mp4: no Content Credentials: there are none in it.\nMetadata: its comment says that it is synt"
    )
    assert c[1].endswith("\nMetadata: no comment that says it is synthetic.\n")
    assert d[1].startswith("d.mkv: no Content Credentials: C2PA knows none in files of this kind.\n")


def test_what_is_no_video_is_refused_in_one_sentence(kit: Path, here: Path, typed) -> None:
    Path("folder.mp4").mkdir()
    Path("text.mp4").write_text("hello")
    Path("empty.mp4").touch()
    for name, said in (
        ("no.mp4", "no.mp4: no such file — expected a video"),
        ("folder.mp4", "folder.mp4: a folder — expected a video"),
        ("text.mp4", "text.mp4: a text — expected a video"),
        (str(kit / "face.png"), "face.png: a picture — expected a video"),
        ("empty.mp4", "empty.mp4: an empty file"),
    ):
        status, out, wrong = typed("verify", name)
        assert status in (1, 2) and out == "" and said in wrong and "Traceback" not in wrong


def test_an_own_certificate(finished: Path, kit: Path, here: Path, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    files, other = make_certificate(here / "own", "A studio"), make_certificate(here / "other")
    with monkeypatch.context() as broken:
        broken.setattr("s3dnerf.synthesis.synthesizer.load_generator", lambda folder: pytest.fail("begun"))
        for key, said in (
            (other.key, "--key: other/key.pem is not the key of the first certificate in own/chain.pem"),
            (here / "no.pem", "--key: no.pem cannot be read"),
        ):
            given = words(kit, "a.mp4", certificate=files.chain.relative_to(here), key=key.relative_to(here))
            status, _, wrong = typed(*given)
            assert status == 2 and said in wrong and len(wrong.splitlines()) == 1
    assert not Path("a.mp4").exists()
    assert typed(*words(kit, "a.mp4", certificate=files.chain, key=files.key))[0] == 0
    status, said, _ = typed("verify", "a.mp4")
    assert status == 0 and 'Signed by: "A studio" of "A studio, Limited" (certificate number' in said
    assert "no issuer that you named with --trust stands behind it" in said
    status, said, _ = typed("verify", "a.mp4", "--trust", files.issuer)
    assert status == 0 and "its issuer is one of those that you trust." in said
    status, _, wrong = typed("verify", "a.mp4", "--trust", files.key)
    assert status == 2 and "--trust: " in wrong and "expected a PEM file with issuers' certificates" in wrong


def test_without_the_library(finished: Path, kit: Path, here: Path, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    status, said, wrong = typed(*words(kit, "a.mp4"))
    assert status == 0 and said.endswith("synthetic, and its metadata says so\n")
    assert wrong == (
        "s3dnerf: c2pa-python is not installed (pip install c2pa-python): the video gets no Content Credentials, only "
        "the comment in its metadata that says it is synthetic\n"
    )
    status, said, wrong = typed("verify", "a.mp4")
    assert (status, said) == (1, "") and "verify: c2pa-python is not installed (pip install c2pa-python)\n" in wrong
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert typed("verify", "a.mp4")[0] == 4


def sign_as_others_do(
    source: Path, target: Path, manifest: dict[str, Any], signer: Signer, parent: Path | None = None, remote: str = ""
) -> None:
    import c2pa

    with signer.native() as native, c2pa.Builder(manifest, context=offline_context()) as builder:
        if parent is not None:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            with open(parent, "rb") as handle:
                builder.add_ingredient({"title": "before", "relationship": "parentOf"}, "video/mp4", handle)
        if remote:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        with open(source, "rb") as given, open(target, "w+b") as made:
            builder.sign(native, "video/mp4", given, made)


def test_what_somebody_else_says_of_a_video_made_of_ours(finished: Path, here: Path, typed) -> None:
    ffmpeg("-i", finished, "-c:v", "libx264", "-crf", "28", "smaller.mp4")
    files = make_certificate(here / "own", "An editor")
    manifest = {
        "claim_generator_info": [{"name": "Cutter", "version": "3"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.transcoded"}]}}],
    }
    signer = Signer.load(files.chain, files.key)
    sign_as_others_do(Path("smaller.mp4"), Path("b.mp4"), manifest, signer, parent=finished)
    status, said, wrong = typed("verify", "b.mp4")
    own, _, earlier = said.partition("It was made of a file with credentials of its own:\n")
    assert (status, wrong) == (0, "") and "Written by: Cutter 3." in own and '"An editor"' in own
    assert "transcoded" in own and "When: not said." in own and "Model: " not in own
    assert "  What: synthetic, made by a trained model" in earlier and "  Model: S3D-NeRF, variant full" in earlier


def test_credentials_that_lie_elsewhere_are_not_fetched(finished: Path, here: Path, typed) -> None:
    asked: list[str] = []

    class Listening(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/a.c2pa"
        created = {"actions": [{"action": "c2pa.created", "digitalSourceType": TRAINED_MEDIA}]}
        manifest = {
            "claim_generator_info": [{"name": "Other"}],
            "assertions": [{"label": "c2pa.actions.v2", "data": created}],
        }
        ffmpeg("-i", finished, "-c", "copy", "plain.mp4")
        sign_as_others_do(Path("plain.mp4"), Path("b.mp4"), manifest, self_signed(), remote=address)
        status, said, _ = typed("verify", "b.mp4")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert status == 4 and address in said and "not fetched" in said and asked == []


@pytest.mark.slow
def test_a_certificate_that_has_run_out_since(finished: Path, kit: Path, here: Path, typed) -> None:
    ends = time.monotonic() + 8
    files = make_certificate(here / "own", valid_s=(-60, 8))
    assert typed(*words(kit, "a.mp4", certificate=files.chain, key=files.key))[0] == 0
    assert typed("verify", "a.mp4")[0] == 0
    time.sleep(max(0.0, ends + 1 - time.monotonic()))
    status, said, _ = typed("verify", "a.mp4")
    assert status == 3 and "the certificate is not valid any more, and no time-stamp says that it was" in said
