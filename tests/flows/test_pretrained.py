"""The generator in the package: what ships it, what its card says, and that the one that is there can be used."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from flows.pretrained import PretrainedError, ship
from s3dnerf.settings.loading import preset_settings
from s3dnerf.synthesis.synthesizer import PRETRAINED, Synthesizer, load_card, load_generator
from tests.small_corpus import BOX, INTRINSICS, landmarks, picture, turn

SUMMARY = {
    "corpora": {
        "hdtf": {
            "methods": {
                "s3dnerf": {"m_lmd": {"mean": 1.5, "speakers": 14, "clips": 15}, "ssim": {"mean": 0.75}},
                "wrong_speech": {"m_lmd": {"mean": 2.0}},
                "still": {"m_lmd": {"mean": 2.25}},
                "truth": {"m_lmd": {"mean": 0.0}, "ssim": {"mean": None}},
            },
            "differences": {"s3dnerf - wrong_speech": {"m_lmd": {"p_holm": 0.0015}}},
        }
    }
}


def test_it_ships_the_weights_with_a_card_of_the_report_s_numbers(tmp_path: Path) -> None:
    model = tmp_path / "data" / "mini" / "train_s3dnerf" / "full"
    model.mkdir(parents=True)
    (tmp_path / "reports" / "mini").mkdir(parents=True)
    with pytest.raises(PretrainedError, match="s3dnerf preset mini && dvc repro"):
        ship("mini", tmp_path, tmp_path / "out")
    (model / "generator.safetensors").write_bytes(b"weights")
    (model / "card.json").write_bytes((PRETRAINED / "card.json").read_bytes())
    (tmp_path / "reports" / "mini" / "summary.json").write_text(json.dumps(SUMMARY))
    made = ship("mini", tmp_path, tmp_path / "out")
    assert [path.name for path in made] == ["generator.safetensors", "card.json", "README.md"]
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert hashlib.sha256(b"weights").hexdigest() in text and "14 people" in text and "M-LMD is 25% lower than" in text
    assert "| M-LMD, px ↓ | 1.500 | 2.000 | 2.250 | 0.000 |" in text and "| SSIM ↑ | 0.750 | – | – | – |" in text


def test_the_shipped_weights_are_those_that_the_card_describes() -> None:
    text, card = (PRETRAINED / "README.md").read_text("utf-8"), load_card(PRETRAINED)
    weights = (PRETRAINED / "generator.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in text and len(weights) < 8e6
    assert f"{card['clips']} clips of {len(card['speakers'])} people" in text and "research use only" in text
    held_out = preset_settings("mini").ingest.hdtf_test_speakers
    assert not set(card["speakers"]) & set(held_out)  # what is measured was never trained on
    assert not re.search(r"(/work|/tmp|/home|/root)\b", json.dumps(card))


def test_the_shipped_generator_moves_a_mouth_by_what_it_hears() -> None:
    generator, card = load_generator(PRETRAINED), load_card(PRETRAINED)
    synthesizer, (frame, mask) = Synthesizer(generator, card), picture(0.1, 0.9)
    identity = synthesizer.portrait(frame, mask, turn(0.0), INTRINSICS, BOX, landmarks(0.1))
    tokens = np.random.default_rng(0).standard_normal((2, 8, card["speech_dim"])).astype(np.float32)
    poses, intrinsics = np.repeat(turn(0.0)[None], 4, 0), np.repeat(INTRINSICS[None], 4, 0)
    first, other = (np.stack(list(synthesizer.frames(identity, t, poses, intrinsics))).astype(int) for t in tokens)
    assert first.shape == (4, 256, 256, 3)
    changed = np.abs(first - other).max((0, 3))
    assert changed[140:190, 100:156].max() > 20 and changed[:60].max() <= 2  # lips, and not the air above the head
