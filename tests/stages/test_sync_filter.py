"""The sync filter in stage ``speech``: shifted sound is found and moved back or excluded, recorded; off, nothing
changes.
"""

import dataclasses
import hashlib

import numpy as np
import pandas as pd
import pytest
import torch

from s3dnerf.settings.loading import settings_from
from s3dnerf.settings.schema import CORPORA, Settings
from s3dnerf.speech.audio import wav_bytes, wav_samples
from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync import offsets
from s3dnerf.sync.filtering import clip_samples, shift_samples
from s3dnerf.sync.offsets import SyncResult
from s3dnerf.video.encoding import encode_clip
from s3dnerf.video.packs import INDEX_COLUMNS, QUARANTINE_COLUMNS, CorpusPacks, write_pack, write_table
from stages import speech
from stages.context import Context
from stages.preprocessing import StageError, plan
from tests.stages.clip_records import write_clip_records
from tests.sync.moving_mouth import speaking
from tests.sync.test_syncnet import official_state

FRAMES = 150
LATE = {
    "lrs2_step_000": 0,
    "lrs2_late_000": 4,
    "lrs2_early_000": -3,
    "lrs2_far_000": 9,
}  # frames the sound comes after the picture
QUIET = "lrs2_quiet_000"  # lips that do not move
RECORDS = ["clip", "corpus", "speaker", "split", "pack", "video", "audio", "duration_s"]


def settings(**given) -> Settings:
    return settings_from(
        {
            "preset": "tiny",
            "speech": {"backend": "logmel", "model": None, **given},
            "ingest": {"max_failed_fraction": 1.0},
        }
    )


@pytest.fixture
def sounds(tmp_path, monkeypatch) -> dict[str, bytes]:
    """What ingest, resample and align left of five clips; their wavs."""
    monkeypatch.chdir(tmp_path)
    made = {clip: speaking(FRAMES, seed, late) for seed, (clip, late) in enumerate(LATE.items())}
    made[QUIET] = (np.repeat(made["lrs2_step_000"][0][:1], FRAMES, 0), speaking(FRAMES, 9)[1])
    wavs = {clip: wav_bytes(samples) for clip, (_, samples) in made.items()}
    data = settings().data_dir
    for corpus in CORPORA:
        clips = sorted(made) if corpus == "lrs2" else []
        rows = [
            dict(
                zip(
                    RECORDS,
                    (clip, corpus, clip, "train", f"{corpus}-0000", f"{clip}.mp4", "", FRAMES / 25),
                    strict=True,
                )
            )
            for clip in clips
        ]
        write_clip_records(data / "ingest" / corpus, rows)
        for stage, parts in (
            ("resample", {c: {"wav": wavs[c]} for c in clips}),
            ("align", {c: {"landmarks.npy": made[c][0].astype(np.float32)} for c in clips}),
        ):
            folder = data / stage / corpus
            folder.mkdir(parents=True)
            index = write_pack(folder / f"{corpus}-0000.tar", parts) if clips else []
            write_table(folder / "index.parquet", [{"pack": f"{corpus}-0000", **row} for row in index], INDEX_COLUMNS)
            write_table(folder / "quarantine.parquet", [], QUARANTINE_COLUMNS)
    return wavs


def run(chosen: Settings) -> tuple[CorpusPacks, dict[str, dict]]:
    """The packs that ``speech`` made of LRS2, and clip → row of its quarantine."""
    speech.main(Context(chosen, "speech"))
    folder = chosen.data_dir / "speech" / "lrs2"
    bad = pd.read_parquet(folder / "quarantine.parquet").set_index("clip").to_dict("index")
    return CorpusPacks(folder), bad


def record(clip: str) -> dict[str, str]:
    return {"clip": clip, "corpus": "lrs2", "pack": "lrs2-0000"}


def test_shifted_clips_are_moved_back_in_step_and_recorded(sounds):
    chosen = settings(sync_filter="mouth", sync_unsure="keep")
    packs, bad = run(chosen)
    assert set(bad) == {"lrs2_far_000"} and bad["lrs2_far_000"]["reason"] == "out_of_sync"
    assert "-9 frames" in bad["lrs2_far_000"]["detail"] or "-8 frames" in bad["lrs2_far_000"]["detail"]
    said = {clip: packs.read(clip, "sync.json") for clip in packs.clips}
    assert {clip: each["verdict"] for clip, each in said.items()} == {
        "lrs2_step_000": "in_step",
        "lrs2_late_000": "shifted",
        "lrs2_early_000": "shifted",
        QUIET: "unsure",
    }
    for clip, each in said.items():
        heard = wav_samples(sounds[clip])
        if each["verdict"] == "shifted":
            assert (
                abs(each["offset_frames"] + LATE[clip]) <= 1
                and each["confidence"] >= 2.5
                and each["measured_on"] == "clip"
            )
            assert each["shifted_frames"] == each["offset_frames"]
        moved = shift_samples(heard, each["shifted_frames"])
        assert np.array_equal(packs.read(clip, "mel.npy"), clip_mel(moved))
        assert np.array_equal(clip_samples(chosen.data_dir, record(clip)), moved)  # what evaluation and report hear


def test_excluded_instead_of_shifted(sounds):
    packs, bad = run(settings(sync_filter="mouth", sync_action="exclude"))
    assert packs.clips == ["lrs2_step_000"] and {row["reason"] for row in bad.values()} == {"out_of_sync"}
    assert "sync_tolerance_frames" in bad["lrs2_late_000"]["detail"] and "confidence 0.00" in bad[QUIET]["detail"]


def test_off_leaves_every_byte_and_every_part_as_it_was(sounds):
    """The tokens and mel of the plain sound, no further part; the other clips of a filtered run have these very bytes."""
    packs, bad = run(settings())
    assert not bad and all(packs.kinds(clip) == ["mel.npy", "tokens.npy"] for clip in sounds)
    plain = {(clip, kind): packs.read(clip, kind).tobytes() for clip in sounds for kind in ("mel.npy", "tokens.npy")}
    for clip, wav in sounds.items():
        assert plain[clip, "mel.npy"] == clip_mel(wav_samples(wav)).tobytes()
        assert np.array_equal(clip_samples(settings().data_dir, record(clip)), wav_samples(wav))
    filtered, _ = run(settings(sync_filter="mouth", sync_unsure="keep"))
    changed = {
        c
        for c in filtered.clips
        for kind in ("mel.npy", "tokens.npy")
        if filtered.read(c, kind).tobytes() != plain[c, kind]
    }
    assert changed == {"lrs2_late_000", "lrs2_early_000"}


def test_a_clip_that_says_too_little_goes_with_its_recording():
    def found(offset, confidence, peak):
        curve = np.zeros(31)
        curve[15 - offset] = peak
        return speech.MouthOffset(offset, confidence, curve, 100)

    clips = {"a": found(-4, 4.0, 0.8), "b": found(2, 1.0, 0.1), "c": found(-4, 1.5, 0.6), "d": found(5, 1.0, 0.1)}
    videos = {"a": "one", "b": "one", "c": "one", "d": "two"}
    verdicts = speech.mouth_verdicts(clips, videos, settings(sync_filter="mouth", sync_unsure="keep").speech)
    assert [(v.measured_on, v.verdict, v.shifted_frames) for v in verdicts.values()] == [
        ("clip", "shifted", -4),
        ("video", "shifted", -4),
        ("video", "shifted", -4),
        ("video", "unsure", 0),
    ]


def test_syncnet_decides_by_its_own_offset_and_confidence(sounds, tmp_path, monkeypatch):
    """The official layout with random weights, on frames and sound of the clip; then what it says, told apart by its
    confidence.
    """
    torch.save(official_state(), tmp_path / "syncnet_v2.model")
    chosen = settings(sync_filter="syncnet", sync_unsure="keep", sync_weights="syncnet_v2.model")
    folder = chosen.data_dir / "align" / "lrs2"
    landmarks = CorpusPacks(folder)
    frames = np.random.default_rng(0).integers(0, 255, (8, 256, 256, 3), dtype=np.uint8)
    parts = {
        c: {"landmarks.npy": landmarks.read(c, "landmarks.npy"), "mp4": encode_clip(frames, 14)}
        for c in ("lrs2_step_000", "lrs2_late_000")
    }
    index = write_pack(folder / "lrs2-0000.tar", parts)
    write_table(folder / "index.parquet", [{"pack": "lrs2-0000", **row} for row in index], INDEX_COLUMNS)
    seen = []
    real = offsets.sync_result

    def told(distances):
        measured = real(distances)
        seen.append(measured)
        return dataclasses.replace(measured, lse_c=4.0, offset_frames=-2) if len(seen) == 1 else measured

    monkeypatch.setattr(offsets, "sync_result", told)
    packs, _ = run(chosen)
    # 8 frames: 3 windows, the protocol's
    assert len(seen) == 2 and all(isinstance(m, SyncResult) and m.windows == 3 for m in seen)
    first, second = (packs.read(clip, "sync.json") for clip in ("lrs2_late_000", "lrs2_step_000"))
    assert (first["backend"], first["verdict"], first["shifted_frames"]) == ("syncnet", "shifted", -2)
    assert (second["verdict"], second["confidence"]) == ("unsure", round(seen[1].lse_c, 3))


def test_missing_weights_stop_before_any_work_and_their_bytes_are_in_the_key(sounds, tmp_path):
    wanting = settings(sync_filter="syncnet", sync_weights="no/such/file.model")
    with pytest.raises(StageError, match="(?s)speech.sync_weights: no/such/file.model.*speech.sync_filter: off"):
        speech.main(Context(wanting, "speech"))
    assert not (wanting.data_dir / "speech").exists()
    chosen = settings(sync_filter="syncnet", sync_weights="net.model")
    keys = []
    for shift in (0, 1):
        state = official_state()
        state["netfclip.0.bias"] += shift
        torch.save(state, tmp_path / "net.model")
        keys.append(plan(speech.SPEC, chosen, "lrs2")[0].key)
    assert keys[0] != keys[1]
    (tmp_path / "net.model").write_bytes(hashlib.sha256(b"no network").digest())
    with pytest.raises(StageError, match="speech.sync_weights"):
        plan(speech.SPEC, chosen, "lrs2")
