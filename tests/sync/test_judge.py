"""The trained judge: shifts recovered on people it never saw, whatever it is handed; who judges is said."""

import dataclasses
import functools

import numpy as np
import pytest

from s3dnerf.settings.schema import EvaluateSettings
from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.expert import save_expert
from s3dnerf.sync.held_out import held_out_accuracy
from s3dnerf.sync.judge import SyncJudge, TrainedJudge, sync_judge
from s3dnerf.sync.syncnet import SyncNetWeightsError
from s3dnerf.training.distributed import World
from s3dnerf.training.sync_eval import embed_clips, offset_curves
from tests.margins import Between, Margin
from tests.sync.corpus import BOX, frames_of
from tests.sync.learned import learned
from tests.sync.talking import script, sound_of, talker, talkers_sound

CARD = {"role": "judge", "held_out": {"accuracy": 0.9}, "gate": 0.75, "passes": True, "monitor": []}


@pytest.fixture(scope="module")
def judge(trained):
    return TrainedJudge(trained, CARD)


STRANGER = ("zoe", 5.0, 3)


@functools.lru_cache(maxsize=1)
def a_stranger():
    """Frames and mel of a person the network never saw."""
    clip = talker(*STRANGER)
    return frames_of(clip.lips), clip.audio


@pytest.fixture(scope="module")
def stranger():
    return a_stranger()


def unseen_numbers(network):
    embedded = embed_clips(network, [talker(name * 4, 3.0, 1) for name in "uvwx"], World())
    curve = offset_curves(embedded)
    assert len(curve["distance"]) == 31
    return {
        "accuracy on unseen people": held_out_accuracy(embedded, 520, 0).accuracy,
        "extreme offset (frames)": abs(curve["extreme_offset_frames"]),
    }


UNSEEN = Margin(
    "test_unseen_people_are_judged_right",
    lambda seed, folder: unseen_numbers(learned(seed)),
    {"accuracy on unseen people": Between(low=0.75), "extreme offset (frames)": Between(high=0)},
)


def test_unseen_people_are_judged_right(trained):
    UNSEEN.check(unseen_numbers(trained))


def made_shift(judge, k):
    """The stranger's own sound k frames early, moved in the samples (whole columns of the mel are 0.3 frames): frames
    between the made shift and the one found, and how much nearer the sound is there than at any other offset.
    """
    frames, _ = a_stranger()
    found = judge.measure(frames, BOX, audio=clip_mel(np.roll(talkers_sound(*STRANGER), -640 * k)))
    return abs(found.offset_frames - k), float(np.delete(found.curve, 15 - k).min() - found.curve[15 - k])


def made_shifts(judge):
    errors, leads = zip(*(made_shift(judge, k) for k in range(-10, 11)))
    return {"farthest from the made shift (frames)": max(errors), "least lead (distance)": min(leads)}


SHIFTS = Margin(
    "test_sound_shifted_by_k_frames_is_found",
    lambda seed, folder: made_shifts(TrainedJudge(learned(seed), CARD)),
    {"farthest from the made shift (frames)": Between(high=0), "least lead (distance)": Between(low=0.02)},
)


@pytest.mark.parametrize("k", range(-10, 11))
def test_sound_shifted_by_k_frames_is_found(judge, k):
    SHIFTS.check(dict(zip(SHIFTS.bounds, made_shift(judge, k))))


def right_and_wrong_sound(judge):
    frames, mel = a_stranger()
    right, wrong = (
        judge.measure(frames, BOX, audio=mel),
        judge.measure(frames, BOX, audio=talker("other", 5.0, 9).audio),
    )
    return {"LSE-C, right over wrong": right.lse_c / wrong.lse_c, "LSE-D, wrong less right": wrong.lse_d - right.lse_d}


RIGHT_SOUND = Margin(
    "test_right_sound_scores_better_than_wrong",
    lambda seed, folder: right_and_wrong_sound(TrainedJudge(learned(seed), CARD)),
    {"LSE-C, right over wrong": Between(low=2), "LSE-D, wrong less right": Between(low=0.1)},
)


def test_right_sound_scores_better_than_wrong(judge):
    RIGHT_SOUND.check(right_and_wrong_sound(judge))


def test_samples_and_their_mel_give_the_same(judge, stranger):
    rng = np.random.default_rng(0)
    samples = sound_of(script(5.0, rng), 120, 1.0, rng)
    assert judge.measure(stranger[0], BOX, samples=samples) == judge.measure(stranger[0], BOX, audio=clip_mel(samples))


def batch_against_batches(judge):
    frames, mel = a_stranger()
    pairs = zip(judge.embeddings(frames[:30], BOX, mel, batch=7), judge.embeddings(frames[:30], BOX, mel))
    return {"farthest apart": max(float((one - many).abs().max()) for one, many in pairs)}


BATCHES = Margin(
    "test_batches_change_nothing",
    lambda seed, folder: batch_against_batches(TrainedJudge(learned(seed), CARD)),
    {"farthest apart": Between(high=1e-5)},
)


def test_batches_change_nothing(judge):
    BATCHES.check(batch_against_batches(judge))


@pytest.mark.parametrize(
    "given, fault",
    [
        ({"lip_box": None}, "lip_box"),
        ({"audio": None}, "samples or audio"),
        ({"audio": np.zeros((30, 80), np.float32)}, "at least"),
    ],
)
def test_what_is_missing_is_named(judge, stranger, given, fault):
    frames, mel = stranger
    with pytest.raises(ValueError, match=fault):
        judge.measure(frames, **{"lip_box": BOX, "audio": mel, **given})


def test_a_clip_too_short_to_shift_is_refused(judge, stranger):
    with pytest.raises(ValueError, match="more than 15"):
        judge.measure(stranger[0][:19], BOX, audio=stranger[1])
    assert judge.measure(stranger[0][:20], BOX, audio=stranger[1]).windows == 16


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
