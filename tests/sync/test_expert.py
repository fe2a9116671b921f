"""The expert's file form and its gate."""

import dataclasses
import json

import pytest
import torch

from s3dnerf.settings.schema import SyncSettings
from s3dnerf.sync.expert import SyncExpert, SyncGateError, check_gate, load_expert, save_expert

SETTINGS = SyncSettings(crop_px=48, width=4, embed=16)


def card(accuracy=0.8, gate=0.75, findings=()):
    return {
        "role": "expert",
        "settings": dataclasses.asdict(SETTINGS),
        "held_out": {"accuracy": accuracy},
        "gate": gate,
        "passes": accuracy >= gate,
        "monitor": list(findings),
    }


def test_saved_and_loaded_it_says_the_same(tmp_path):
    torch.manual_seed(0)
    expert = SyncExpert(SETTINGS).eval()
    save_expert(tmp_path, expert.state_dict(), card())
    loaded, read = load_expert(tmp_path)
    lips, mel = torch.rand(2, 5, 3, 48, 48), torch.randn(2, 16, 80)
    assert torch.equal(loaded.visual(lips), expert.visual(lips)) and torch.equal(loaded.audio(mel), expert.audio(mel))
    assert read == card() and not loaded.training and not any(p.requires_grad for p in loaded.parameters())


def test_one_that_reads_tokens_comes_back(tmp_path):
    torch.manual_seed(0)
    settings = dataclasses.replace(SETTINGS, audio="tokens")
    expert = SyncExpert(settings, 12).eval()
    expert.audio_tower.set_statistics(torch.randn(12), torch.rand(12) + 0.5)
    save_expert(tmp_path, expert.state_dict(), {**card(), "settings": dataclasses.asdict(settings), "token_dim": 12})
    loaded, _ = load_expert(tmp_path)
    tokens = torch.randn(2, 10, 12)
    assert torch.equal(loaded.audio(tokens), expert.audio(tokens)) and loaded.windows.part == "tokens.npy"


def test_equal_networks_are_equal_bytes(tmp_path):
    for name in ("one", "two"):
        torch.manual_seed(0)
        save_expert(tmp_path / name, SyncExpert(SETTINGS).state_dict(), card())
    for file in ("weights.safetensors", "card.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_is_missing_or_mixed_up_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro train_sync"):
        load_expert(tmp_path)
    save_expert(tmp_path, SyncExpert(SETTINGS).state_dict(), card())
    other = card()
    other["settings"]["width"] = 8
    (tmp_path / "card.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="do not belong together"):
        load_expert(tmp_path)


def test_gradients_pass_through_the_frozen_expert_to_the_lips(tmp_path):
    save_expert(tmp_path, SyncExpert(SETTINGS).state_dict(), card())
    expert, _ = load_expert(tmp_path)
    lips = torch.rand(1, 5, 3, 48, 48, requires_grad=True)
    expert.visual(lips).sum().backward()
    assert lips.grad.abs().sum() > 0


def test_the_gate_refuses_what_did_not_pass():
    with pytest.raises(SyncGateError, match=r"train.phases: sync: 0.5 .* 0.612 .*sync.gate = 0.75.*\(sound shifted\)"):
        check_gate(card(0.612, findings=[{"code": "audio_shifted", "message": "sound shifted"}]), 0.5)
    check_gate(card(0.612), 0.0)
    check_gate(card(0.9), 0.5)
