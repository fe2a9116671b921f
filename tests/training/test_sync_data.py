"""Windows for the lip-sync networks: who is held out, which negatives, which clips are in memory."""

import numpy as np
import pytest
import torch

from s3dnerf.settings.loading import settings_from
from s3dnerf.training.clips import ClipFolder
from s3dnerf.training.sync_data import (
    ClipPool,
    SyncDataError,
    SyncSplit,
    draw_batch,
    draw_frames,
    held_out_people,
    load_lip_clip,
    negative_chances,
    split_for,
)
from tests.sync.corpus import write_corpus
from tests.sync.talking import talker


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_corpus(folder, "hdtf", {"ann": "train", "bob": "train", "eve": "train", "tess": "test"}, 1.2)
    write_corpus(folder, "lrs2", {"lea": "train", "max": "train", "val": "val"}, 1.2, clips=2)
    return folder


SETTINGS = settings_from({"sync": {"hdtf_val_fraction": 0.34, "crop_px": 48}})


def test_expert_and_judge_train_and_are_judged_on_whom_they_should(data_dir):
    expert, judge = split_for("expert", data_dir, SETTINGS), split_for("judge", data_dir, SETTINGS)
    apart = held_out_people(["ann", "bob", "eve"], 0.34)
    assert len(apart) == 1
    assert SyncSplit.speakers(expert.held_out) == sorted([f"hdtf/{apart[0]}", "lrs2/val"])
    assert SyncSplit.speakers(expert.train) == sorted(
        [f"hdtf/{n}" for n in {"ann", "bob", "eve"} - set(apart)] + ["lrs2/lea", "lrs2/max"]
    )
    assert SyncSplit.speakers(judge.train) == ["lrs2/lea", "lrs2/max"] and SyncSplit.speakers(judge.held_out) == [
        "lrs2/val"
    ]
    assert "hdtf/tess" not in SyncSplit.speakers(expert.train) + SyncSplit.speakers(expert.held_out)


def test_held_out_people_stay_when_others_join():
    people = [f"p{i}" for i in range(40)]
    first = held_out_people(people, 0.1)
    assert len(first) == 4 and held_out_people(people[::-1], 0.1) == first
    assert len(set(held_out_people([*people, "new"], 0.1)) - set(first)) <= 1
    assert (
        held_out_people(["one"], 0.5) == []
        and len(held_out_people(["one", "two"], 0.9)) == 1
        and held_out_people(people, 0.0) == []
    )


def test_no_lrs2_is_said_with_its_setting(tmp_path):
    write_corpus(tmp_path, "lrs2", {}, 1.2)
    write_corpus(tmp_path, "hdtf", {"ann": "train", "bob": "train"}, 1.2)
    with pytest.raises(SyncDataError, match="raw.lrs2"):
        split_for("judge", tmp_path, SETTINGS)
    assert SyncSplit.speakers(split_for("expert", tmp_path, SETTINGS).held_out)  # HDTF alone serves the expert


def test_nobody_to_judge_by_is_said(tmp_path):
    write_corpus(tmp_path, "lrs2", {"lea": "train"}, 1.2)
    with pytest.raises(SyncDataError, match="no clip to hold out"):
        split_for("judge", tmp_path, SETTINGS)


def test_a_speaker_on_both_sides_is_refused(data_dir, monkeypatch):
    record = {"corpus": "lrs2", "speaker": "lea", "duration_s": 2.0}
    monkeypatch.setattr(ClipFolder, "of_split", lambda self, *splits: [record])
    with pytest.raises(SyncDataError, match=r"\['lrs2/lea'\] both train and judge"):
        split_for("judge", data_dir, SETTINGS)


def test_a_clip_from_disk_shows_the_lips_it_was_made_of(data_dir):
    folder = ClipFolder(data_dir, "lrs2")
    record = next(r for r in folder.records if r["clip"] == "lrs2_lea_001")
    clip, made = load_lip_clip(folder, record, 48), talker("lea", 1.2, 1)
    assert clip.lips.shape == made.lips.shape and clip.margin == 4 and clip.speaker == "lrs2/lea"
    assert np.abs(clip.lips.astype(int) - made.lips).mean() < 4  # what the codec leaves
    assert np.array_equal(clip.audio_window(7), made.audio[22:38]) and np.array_equal(clip.speech, made.speech)


def test_negatives_are_near_in_the_same_clip_or_of_another_speaker():
    clips = np.array([0, 0, 0, 0, 0, 1, 2])
    frames = np.array([5, 6, 7, 15, 16, 6, 9])
    speakers = np.array([0, 0, 0, 0, 0, 0, 1])
    chances = negative_chances(clips, frames, speakers)
    assert np.allclose(chances.sum(1), 1)
    assert chances[0, 1] == 0 and chances[0, 0] == 0  # itself and ±1 frame: never
    assert chances[0, 4] == 0  # 11 frames away: beyond the reach
    assert chances[0, 2] == pytest.approx(5 * chances[0, 3])  # 2 frames away against 10: as 1 / distance
    assert chances[0, 5] == 0  # another clip of the same speaker is neither
    assert chances[0, 6] == pytest.approx(0.2)
    assert chances[5, 6] == 1 and chances[6, :6].sum() == pytest.approx(1)  # one kind alone: it takes all
    # alone: takes no part
    assert negative_chances(np.zeros(3, int), np.array([3, 5, 30]), np.zeros(3, int)).sum(1).tolist() == [
        1,
        1,
        0,
    ]
    with pytest.raises(SyncDataError, match="no window has a negative"):
        negative_chances(np.array([0, 0]), np.array([3, 4]), np.array([0, 0]))


def test_frames_drawn_have_speech_where_enough_have():
    speech = np.zeros(80, bool)
    speech[30:60] = True
    for seed in range(20):
        frames = draw_frames(speech, 8, np.random.default_rng(seed))
        assert len(frames) == 8 and len(set(frames)) == 8 and np.ptp(frames) < 24
        assert (np.diff(frames) > 0).all() and speech[frames].mean() >= 0.5
    assert len(draw_frames(np.ones(5, bool), 8, np.random.default_rng(0))) == 5


def test_batch_pairs_lips_with_their_own_sound():
    clips = [talker("ann", 1.5, 0), talker("bob", 1.5, 0)]
    batch = draw_batch(clips, 8, np.random.default_rng(0))
    assert (
        batch.lips.shape == (8, 5, 3, 56, 56) and batch.audio.shape == (8, 16, 80) and batch.negatives.shape == (8, 8)
    )
    for lips, mel in zip(batch.lips, batch.audio):
        places = [(c, f) for c in clips for f in range(len(c.speech)) if np.array_equal(c.lip_window(f), lips.numpy())]
        assert len(places) == 1 and np.array_equal(places[0][0].audio_window(places[0][1]), mel.numpy())
    three = [talker("ann", 1.5, 1), *clips]
    for seed in range(8):  # two groups are never of one speaker where there are two
        assert (draw_batch(three, 4, np.random.default_rng(seed)).negatives.sum(1) > 0.999).all()
    again = draw_batch(clips, 8, np.random.default_rng(0))
    assert torch.equal(batch.lips, again.lips) and torch.equal(batch.negatives, again.negatives)


def pool(data_dir, **more) -> ClipPool:
    return ClipPool(split_for("judge", data_dir, SETTINGS).train, 48, 32, 7, **more)


def test_a_small_corpus_lies_in_memory_whole(data_dir):
    small = pool(data_dir)
    assert (
        [c.clip for c in small.at(0)]
        == [c.clip for c in small.at(900)]
        == [f"lrs2_{n}_{i:03d}" for n in ("lea", "max") for i in (0, 1)]
    )


def test_a_large_corpus_is_gone_through_in_a_bounded_pool(data_dir):
    room = int(2.5 * 1.2 * 25 * 3 * 56 * 56)
    bounded = pool(data_dir, pool_bytes=room)
    assert bounded.capacity == 2
    seen = []
    for step in range(40):
        members = [c.clip for c in bounded.at(step)]
        assert 1 <= len(members) <= 2 and len(bounded._held) <= 6
        seen += members
    assert len(set(seen)) == 4
    # a resumed run sees the same
    assert [c.clip for c in pool(data_dir, pool_bytes=room).at(33)] == [c.clip for c in bounded.at(33)]
