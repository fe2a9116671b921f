"""The align stage on real and made videos: contract's parts, exact geometry, quarantine by reason, one clip's fault its
own.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.corpora.synthetic.truth import load_truth, truth_path
from s3dnerf.faces.warping import apply
from s3dnerf.settings.loading import preset_settings
from s3dnerf.video.encoding import decode_clip, encode_clip
from s3dnerf.video.packs import INDEX_COLUMNS, write_pack, write_table
from stages import align
from stages.align import align_clip
from stages.preprocessing import PackJob, Quarantine
from tests.faces.drawn_clips import ScriptedBackend, box_at, frames_of, make_talking_video

SETTINGS = preset_settings("tiny")


def job_for(folder: Path, clips: dict[str, tuple[str, np.ndarray, tuple[int, int, int, int]]]) -> PackJob:
    """A pack job whose clips are (video, source frames, crop), with resample's pack on disk."""
    rows = write_pack(
        folder / "resample" / "hdtf-0000.tar",
        {c: {"frames.npy": index.astype(np.int32)} for c, (_, index, _) in clips.items()},
    )
    write_table(folder / "resample" / "index.parquet", [{"pack": "hdtf-0000", **r} for r in rows], INDEX_COLUMNS)
    records = tuple(
        {"clip": c, "video": v, **{f"crop_{k}": n for k, n in zip("xywh", crop, strict=True)}}
        for c, (v, _, crop) in clips.items()
    )
    return PackJob(
        "align", "hdtf", "hdtf-0000", records, {"resample": str(folder / "resample")}, str(folder / "raw"), SETTINGS
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A talking video whole and cropped, one without a face, one that is no video: all results of the stage."""
    folder = tmp_path_factory.mktemp("align")
    path, _ = make_talking_video(folder)
    video = str(path.relative_to(folder / "raw"))
    (folder / "raw/clips/empty.mp4").write_bytes(encode_clip([np.full((240, 260, 3), 80, np.uint8)] * 12, 20))
    (folder / "raw/clips/broken.mp4").write_bytes(b"no video at all")
    whole, index = (-1, -1, -1, -1), np.arange(0, 25)
    job = job_for(
        folder,
        {
            "hdtf_a": (video, index, whole),
            "hdtf_b": (video, index[3:20], (20, 10, 220, 220)),
            "hdtf_c": ("clips/empty.mp4", index[:12], whole),
            "hdtf_d": ("clips/broken.mp4", index[:5], whole),
            "hdtf_e": (video, np.arange(10, 40), whole),
        },
    )
    results = {r.clip: r for r in align.process(job)}
    return results, load_truth(truth_path(folder, "hdtf", video)), job


def test_parts_have_the_contract_s_shapes_and_types(made: tuple) -> None:
    parts = made[0]["hdtf_a"].parts
    assert set(parts) == {"mp4", "landmarks.npy", "matrix.npy", "scores.npy"}
    frames = decode_clip(parts["mp4"])
    assert frames.shape == (25, 256, 256, 3)
    for kind, shape, dtype in (
        ("landmarks.npy", (25, 68, 2), np.float32),
        ("matrix.npy", (2, 3), np.float64),
        ("scores.npy", (25,), np.float32),
    ):
        assert parts[kind].shape == shape and parts[kind].dtype == dtype
    scores = parts["scores.npy"]
    assert np.isfinite(scores[[0, 10, 20, 24]]).all() and np.isnan(scores[[1, 5, 11]]).all()


def test_landmarks_and_matrix_agree_with_the_truth_whole_and_cropped(made: tuple) -> None:
    results, truth, _ = made
    for clip, rows, corner in (("hdtf_a", np.arange(25), (0, 0)), ("hdtf_b", np.arange(3, 20), (20, 10))):
        parts = results[clip].parts
        true = apply(parts["matrix.npy"], truth.landmarks[rows] - corner)
        assert np.linalg.norm(parts["landmarks.npy"] - true, axis=2).mean() < 4
    # both clips show the same head at the same size
    assert results["hdtf_b"].parts["matrix.npy"][0, 0] == pytest.approx(
        results["hdtf_a"].parts["matrix.npy"][0, 0], rel=0.05
    )


def test_the_picture_is_where_the_landmarks_say(made: tuple) -> None:
    parts = made[0]["hdtf_a"].parts
    frame, points = decode_clip(parts["mp4"])[0].astype(int), parts["landmarks.npy"][0].astype(int)
    lips = frame[points[48:60, 1].min() : points[48:60, 1].max(), points[48, 0] : points[54, 0]].mean(axis=(0, 1))
    cheek = frame[points[33, 1] - 3 : points[33, 1] + 3, points[48, 0] - 12 : points[48, 0] - 4].mean(axis=(0, 1))
    assert (lips[0] - lips[1]) / lips.sum() > (
        cheek[0] - cheek[1]
    ) / cheek.sum() + 0.01  # lips are redder than the cheek beside them


def test_each_bad_clip_has_its_reason_and_spoils_no_other(made: tuple) -> None:
    reasons = {clip: r.reason for clip, r in made[0].items()}
    assert reasons == {"hdtf_a": "", "hdtf_b": "", "hdtf_c": "no_face", "hdtf_d": "unreadable", "hdtf_e": "truncated"}
    assert "25" in made[0]["hdtf_e"].detail


def test_the_same_job_gives_the_same_bytes(made: tuple) -> None:
    results, _, job = made
    again = {r.clip: r for r in align.process(dataclasses.replace(job, clips=job.clips[:1]))}
    for kind, value in results["hdtf_a"].parts.items():
        assert (
            np.array_equal(again["hdtf_a"].parts[kind], value, equal_nan=True)
            if kind.endswith("npy")
            else again["hdtf_a"].parts[kind] == value
        )


def test_two_people_are_quarantined() -> None:
    script = [[box_at(90, 110, 80), box_at(230, 110, 78)]] * 15
    with pytest.raises(Quarantine) as bad:
        align_clip(lambda: iter(frames_of(15)), 15, ScriptedBackend(script), SETTINGS)
    assert bad.value.reason == "two_faces"


def test_the_stage_depends_on_its_weights_and_settings() -> None:
    assert [p.name for p in align.SPEC.weights(SETTINGS)] == ["shape_predictor_68_face_landmarks.dat"]
    assert align.SPEC.upstream == ("resample",)


def test_real_clips_of_every_corpus(shared: Path) -> None:
    from s3dnerf.faces.detectors import face_backend
    from s3dnerf.video.reading import read_frames

    settings = preset_settings("mini")
    backend = face_backend(settings.align)
    root = shared / "corpora"
    for path in (
        "HDTF/clips/RD_Radio8_000.mp4",
        "HDTF/clips/EX_ThirtyOne_000.mp4",
        "LRS2/mvlrs_v1/main/0000000000000000001/00001.mp4",
        "MEAD/M030/video/front/sad/level_3/001.mp4",
    ):
        parts = align_clip(lambda p=path: read_frames(root / p, np.arange(12)), 12, backend, settings)
        points = parts["landmarks.npy"]
        assert len(decode_clip(parts["mp4"])) == 12 and (points > 0).all() and (points < 256).all()
        assert 70 < np.ptp(points[0, :, 1]) < 150 and np.abs(np.diff(points, axis=0)).max() < 8
