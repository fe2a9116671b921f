"""``s3dnerf synthesize``: one portrait and a speech recording to a video; or a table of them to one each."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.progress import Progress
from s3dnerf.core.cores import usable_cores
from s3dnerf.core.errors import InputRefused, SettingsError

if TYPE_CHECKING:
    from s3dnerf.synthesis.talking_head import TalkingHead


@contextmanager
def refusing_inputs() -> Iterator[None]:
    """Raise as InputRefused what is wrong with a portrait, a speech, a motion's video or a model: for the block in
    which they are read, before anything is rendered or written.
    """
    from s3dnerf.faces.types import FaceError
    from s3dnerf.synthesis.synthesizer import SynthesisError
    from s3dnerf.video.encoding import VideoError

    try:
        yield
    except (FaceError, SynthesisError, VideoError) as error:
        raise InputRefused(str(error)) from error


@functools.lru_cache(maxsize=1)
def loaded(model: Path, device: str | None) -> TalkingHead:
    """The generator of a folder on a device, read once."""
    from s3dnerf.synthesis.talking_head import TalkingHead

    return TalkingHead.load(model, device)


def synthesize(
    portrait: Path | None = None,
    speech: Path | None = None,
    out: Path | None = None,
    model: Path | None = None,
    motion: str = "gentle",
    views: str = "one",
    yaw: float = 0.0,
    pitch: float = 0.0,
    blinks: bool = True,
    crop: bool = False,
    face: str = "only",
    background: str = "white",
    device: str | None = None,
    mark: bool = False,
    enhancer: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    batch: Path | None = None,
    table: Path | None = None,
    resume: bool = False,
) -> int:
    """A portrait and a speech recording to a talking-head video (H.264 + AAC), labelled synthetic in its metadata
    and in signed C2PA Content Credentials (`s3dnerf verify` reads them).

    Args:
        portrait: A photo of one person.
        speech: Any sound file that ffmpeg reads.
        out: The mp4 to write.
        model: A trained generator's folder, such as data/sample/train_s3dnerf/full; without it the one that comes with
            the package, trained on real people.
        motion: Head motion: gentle, still, or a video of somebody, whose head movement is borrowed.
        views: one; orbit: the camera circles the face; grid: nine views beside each other.
        yaw: Degrees by which the head is turned to the picture's right (±60).
        pitch: Degrees by which it is lowered (±40).
        blinks: Let the eyes close now and then.
        crop: Write the aligned face alone, 256×256, instead of the whole picture at its own size (as for other views,
            and for a head turned by more than 10°).
        face: Which, where the photo shows several: largest, left, right, or a number, counted from the left.
        background: What shows through the photo where it is transparent: a colour's name, or #rrggbb.
        device: cpu, cuda, or auto: a GPU where there is one (without it: $S3DNERF_DEVICE, or auto).
        mark: Write SYNTHETIC into each frame.
        enhancer: An ONNX network of your own that each face goes through (docs/how-to/enhancer.md).
        certificate: Your certificate for the Content Credentials, then its issuers' (PEM); without it that of
            S3DNERF_CERTIFICATE, else a self-signed one, which proves nothing about who made the video.
        key: Its private key (PEM, no password); without it that of S3DNERF_KEY.
        batch: A CSV table instead of portrait, speech and out: a row a video, with these columns and any other of these
            options, paths relative to the table's folder; exit status 3 where a row was refused.
        table: What became of each row of the batch (default: beside it, NAME.result.csv).
        resume: Keep what that table says was made of an equal row, and is newer than its files.
    """
    given = dict(locals())
    if batch is not None:
        from flows.synthesize_batch import run_batch

        return run_batch(batch, synthesize, loaded, given)
    if table is not None or resume:
        raise SettingsError(f"{'--resume' if resume else '--table'}: got it without --batch — expected both or neither")
    if portrait is None or speech is None or out is None:
        missing = ", ".join(f"--{name}" for name in ("portrait", "speech", "out") if given[name] is None)
        raise SettingsError(f"{missing}: missing — expected --portrait, --speech and --out, or --batch with a table")

    import torch

    from s3dnerf.core.devices import chosen_device
    from s3dnerf.core.file_names import shown
    from s3dnerf.core.whole_files import claimed
    from s3dnerf.synthesis.c2pa_library import why_missing
    from s3dnerf.synthesis.content_credentials import WITHOUT
    from s3dnerf.synthesis.head_motion import MOTIONS
    from s3dnerf.synthesis.onnx_enhancer import onnx_enhancer
    from s3dnerf.synthesis.portrait import check_which
    from s3dnerf.synthesis.signers import Choice, chosen_signer
    from s3dnerf.synthesis.synthesizer import PRETRAINED
    from s3dnerf.synthesis.talking_head import check_motion
    from s3dnerf.video.pictures import colour_of

    if out.suffix.lower() != ".mp4":
        raise SettingsError(f"--out: got {shown(out)} — accepted: a name that ends in .mp4")
    check_motion(motion, views, yaw, pitch, dashes="--")
    check_which(face, dashes="--")
    colour_of(background, dashes="--")
    chosen_device(device, dashes="--")
    signer: Choice = chosen_signer(certificate, key, dashes="--")
    missing = why_missing()
    if missing:
        print(f"s3dnerf: {missing}: {WITHOUT}", file=sys.stderr)
        signer = None
    torch.set_num_threads(usable_cores())
    model = PRETRAINED if model is None else model
    borrowed = None if motion in MOTIONS else motion
    inputs = {"the portrait": portrait, "the speech": speech, "the model": model, "the motion's video": borrowed}
    inputs |= {"the certificate": certificate, "its key": key, "the enhancer": enhancer}
    with claimed(out, "--out", inputs):
        with refusing_inputs():
            said = loaded(model, device).animate(
                portrait,
                speech,
                motion=motion,
                views=views,
                yaw_deg=yaw,
                pitch_deg=pitch,
                blinks=blinks,
                crop=crop,
                face=face,
                background=background,
                mark=mark,
                enhancer=None if enhancer is None else onnx_enhancer(enhancer, "--enhancer"),
            )
        if said.note:
            print(f"{shown(speech)}: {said.note}")
        with Progress(shown(out.name), len(said)) as progress:
            count = said.write(out, progress.over, signer=signer)
    what = "the whole picture" if said.whole else "the face alone"
    signed = "" if signer is None else ", as do its Content Credentials"
    print(f"{shown(out)}: {what}, {count} frames, {count / 25:.2f} s; synthetic, and its metadata says so{signed}")
    return 0
