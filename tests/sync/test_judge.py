"""The trained judge: shifts recovered on people it never saw, whatever it is handed; who judges is said."""

import dataclasses

import numpy as np
import pytest
import torch

from s3dnerf.settings.schema import EvaluateSettings
from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.expert import save_expert
from s3dnerf.sync.held_out import held_out_accuracy
from s3dnerf.sync.judge import SyncJudge, TrainedJudge, sync_judge
from s3dnerf.sync.syncnet import SyncNetWeightsError
from s3dnerf.training.distributed import World
from s3dnerf.training.sync_eval import embed_clips, offset_curves
from tests.sync.corpus import BOX, frames_of
from tests.sync.talking import script, sound_of, talker

CARD = {"role": "judge", "held_out": {"accuracy": 0.9}, "gate": 0.75, "passes": True, "monitor": []}


@pytest.fixture(scope="module")
def judge(trained):
    return TrainedJudge(trained, CARD)


@pytest.fixture(scope="module")
def stranger():
    """Frames and mel of a person the network never saw."""
    clip = talker("zoe", 5.0, 3)
    return frames_of(clip.lips), clip.mel


def test_unseen_people_are_judged_right(trained):
    strangers = [talker(name * 4, 3.0, 1) for name in "uvwx"]
    embedded = embed_clips(trained, strangers, World())
    assert held_out_accuracy(embedded, 520, 0).accuracy > 0.85
    curve = offset_curves(embedded)
    assert curve["extreme_offset_frames"] == 0 and len(curve["distance"]) == 31


@pytest.mark.parametrize("k", range(-10, 11))
def test_sound_shifted_by_k_frames_is_found(judge, stranger, k):
    frames, mel = stranger
    columns = round(3.2 * k)
    late = np.roll(mel, -columns, axis=0)  # k > 0: the sound comes k frames early
    result = judge.measure(frames, BOX, mel=late)
    assert result.offset_frames == k


def test_right_sound_scores_better_than_wrong(judge, stranger):
    frames, mel = stranger
    right, wrong = judge.measure(frames, BOX, mel=mel), judge.measure(frames, BOX, mel=talker("other", 5.0, 9).mel)
    assert right.lse_c > 2 * wrong.lse_c and right.lse_d < wrong.lse_d - 0.1


def test_samples_and_their_mel_give_the_same(judge, stranger):
    rng = np.random.default_rng(0)
    samples = sound_of(script(5.0, rng), 120, 1.0, rng)
    assert judge.measure(stranger[0], BOX, samples=samples) == judge.measure(stranger[0], BOX, mel=clip_mel(samples))


def test_batches_change_nothing(judge, stranger):
    frames, mel = stranger
    for one, many in zip(judge.embeddings(frames[:30], BOX, mel, batch=7), judge.embeddings(frames[:30], BOX, mel)):
        assert torch.allclose(one, many, atol=1e-5)


@pytest.mark.parametrize(
    "given, fault",
    [
        ({"lip_box": None}, "lip_box"),
        ({"mel": None}, "samples or mel"),
        ({"mel": np.zeros((30, 80), np.float32)}, "at least"),
    ],
)
def test_what_is_missing_is_named(judge, stranger, given, fault):
    frames, mel = stranger
    with pytest.raises(ValueError, match=fault):
        judge.measure(frames, **{"lip_box": BOX, "mel": mel, **given})


def test_a_clip_too_short_to_shift_is_refused(judge, stranger):
    with pytest.raises(ValueError, match="more than 15"):
        judge.measure(stranger[0][:19], BOX, mel=stranger[1])
    assert judge.measure(stranger[0][:20], BOX, mel=stranger[1]).windows == 16


def test_the_settings_name_the_judge_and_nothing_stands_in_unasked(trained, tmp_path):
    settings = EvaluateSettings(judge="trained")
    card = {**CARD, "settings": dataclasses.asdict(trained.settings)}
    save_expert(tmp_path, trained.state_dict(), card)
    found = sync_judge(settings, tmp_path)
    assert isinstance(found, SyncJudge) and not found.real
    assert found.name == "train_sync's judge (held-out accuracy 0.900, gate 0.75 passed)"
    with pytest.raises(SyncNetWeightsError):
        sync_judge(EvaluateSettings(judge="syncnet", syncnet_weights=str(tmp_path / "none.model")), tmp_path)
    with pytest.raises(FileNotFoundError, match="dvc repro train_sync"):
        sync_judge(settings, tmp_path / "empty")
