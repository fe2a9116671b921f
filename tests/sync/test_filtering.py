"""The sync filter's verdicts by the settings, and sound moved by whole frames."""

import dataclasses

import numpy as np
import pytest

from s3dnerf.settings.schema import SpeechSettings
from s3dnerf.sync.filtering import judge_clip, shift_samples, threshold

SHIFT = SpeechSettings(sync_filter="syncnet")


@pytest.mark.parametrize(
    "offset, confidence, given, verdict, moved",
    [
        (0, 5.0, {}, "in_step", 0),
        (-1, 3.0, {}, "in_step", 0),
        (1, 3.0, {"sync_tolerance_frames": 0}, "shifted", 1),
        (-4, 3.0, {}, "shifted", -4),
        (6, 9.0, {}, "shifted", 6),
        (7, 9.0, {}, "excluded", 0),
        (-4, 9.0, {"sync_action": "exclude"}, "excluded", 0),
        (1, 9.0, {"sync_action": "exclude"}, "in_step", 0),
        (0, 2.99, {}, "excluded", 0),
        (4, 2.99, {"sync_unsure": "keep"}, "unsure", 0),
        (4, 2.99, {"sync_filter": "mouth"}, "shifted", 4),
        (4, 2.99, {"sync_filter": "mouth", "mouth_confidence": 3.0, "sync_unsure": "keep"}, "unsure", 0),
    ],
)
def test_verdicts(offset, confidence, given, verdict, moved):
    speech = dataclasses.replace(SHIFT, **given)
    found = judge_clip(offset, confidence, "clip", speech)
    assert (found.verdict, found.shifted_frames, found.offset_frames, found.backend) == (
        verdict,
        moved,
        offset,
        speech.sync_filter,
    )
    assert found.as_dict()["confidence"] == confidence
    assert f"{offset:+d} frames" in found.why(speech) and f"{confidence:.2f}" in found.why(speech)


def test_the_detail_names_the_setting_that_excluded():
    for offset, confidence, given, named in (
        (9, 5.0, {}, "sync_max_frames = 6"),
        (3, 5.0, {"sync_action": "exclude"}, "sync_tolerance_frames = 1"),
        (0, 1.0, {}, "sync_unsure is exclude"),
    ):
        speech = dataclasses.replace(SHIFT, **given)
        assert named in judge_clip(offset, confidence, "clip", speech).why(speech)
    assert threshold(SHIFT) == 3.0 and threshold(SpeechSettings(sync_filter="mouth")) == 2.5


def test_sound_moves_by_whole_frames_and_keeps_its_length():
    sound = np.arange(1, 640 * 4 + 1, dtype=np.float32)
    late, early = shift_samples(sound, 2), shift_samples(sound, -1)
    assert not late[:1280].any() and np.array_equal(late[1280:], sound[:1280])
    assert np.array_equal(early[:-640], sound[640:]) and not early[-640:].any()
    assert shift_samples(sound, 0) is sound
    assert (
        len(shift_samples(sound, 9)) == len(sound)
        and not shift_samples(sound, 9).any()
        and not shift_samples(sound, -9).any()
    )
    assert late.dtype == np.float32
