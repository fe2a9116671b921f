"""Training of a lip-sync network: its files, a killed run equal to one never killed, and shuffled sound that fails the
gate.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from s3dnerf.settings.loading import settings_from
from s3dnerf.settings.schema import Settings, SpeechSettings
from s3dnerf.speech.logmel import LogMel
from s3dnerf.sync.expert import SyncGateError, check_gate, load_expert
from s3dnerf.sync.judge import TrainedJudge
from s3dnerf.training import train_sync
from s3dnerf.training.curves import read_curves
from s3dnerf.training.distributed import World, joined
from s3dnerf.training.sync_data import SyncDataError
from s3dnerf.training.train_sync import Job, SyncTrainingError, learning_rate, train
from tests.margins import Between, Margin
from tests.sync.corpus import BOX, frames_of, write_corpus
from tests.sync.talking import talker, talkers_sound

LOGMEL = SpeechSettings(backend="logmel", model=None)
PEOPLE = {"ann": "train", "bob": "train", "cat": "train", "dan": "train", "eve": "val", "flo": "val"}


def settings(**sync) -> Settings:
    return settings_from(
        {
            "sync": {
                "steps": 6,
                "judge_steps": 6,
                "batch": 8,
                "crop_px": 48,
                "width": 4,
                "embed": 16,
                "eval_trials": 52,
                "eval_every": 3,
                "checkpoint_every": 2,
                "lr": 2e-3,
                "gate": 0.75,
                **sync,
            }
        }
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_corpus(folder, "lrs2", PEOPLE, 2.0)
    return folder


def job(data_dir: Path, place: Path, **sync) -> Job:
    return Job(settings(**sync), "judge", str(data_dir), str(place / "work"), str(place / "out"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_files_and_card(data_dir, tmp_path, caplog):
    card = train(job(data_dir, tmp_path), World())
    assert sorted(files(tmp_path / "out")) == ["card.json", "curves.jsonl", "offsets.json", "weights.safetensors"]
    network, read = load_expert(tmp_path / "out")
    assert read == card and network.settings.width == 4
    assert card["speakers"] == [f"lrs2/{n}" for n in ("ann", "bob", "cat", "dan")] and card["held_out_speakers"] == [
        "lrs2/eve",
        "lrs2/flo",
    ]
    assert (
        card["held_out"]["trials"] == 52
        and card["held_out"]["low"] <= card["held_out"]["accuracy"] <= card["held_out"]["high"]
    )
    assert (
        card["passes"] == (card["held_out"]["accuracy"] >= 0.75) and card["corpora"] == ["lrs2"] and card["seed"] == 2
    )
    curves = read_curves(tmp_path / "out" / "curves.jsonl")
    assert [row["step"] for row in curves] == list(range(6)) and "held_out_accuracy" in curves[2]
    offsets = json.loads((tmp_path / "out" / "offsets.json").read_text())
    assert (
        offsets["offset_frames"] == list(range(15, -16, -1))
        and len(offsets["distance"]) == 31
        and "lrs2" in offsets["by_corpus"]
    )
    assert any("held-out accuracy" in line and "gate 0.75" in line for line in caplog.messages)


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 3, 5])
def test_killed_and_resumed_gives_the_same_bytes(data_dir, tmp_path, monkeypatch, at):
    train(job(data_dir, tmp_path / "whole"), World())
    real = train_sync.train_step

    def step_and_die(network, both, optimiser, clips, which, step, world):
        values = real(network, both, optimiser, clips, which, step, world)
        if step == at:
            raise Killed
        return values

    monkeypatch.setattr(train_sync, "train_step", step_and_die)
    with pytest.raises(Killed):
        train(job(data_dir, tmp_path / "killed"), World())
    monkeypatch.setattr(train_sync, "train_step", real)
    torch.randn(3)
    train(job(data_dir, tmp_path / "killed"), World())
    assert files(tmp_path / "killed" / "out") == files(tmp_path / "whole" / "out")


@pytest.mark.slow
def test_a_finished_run_writes_its_files_again_without_training(data_dir, tmp_path, monkeypatch):
    train(job(data_dir, tmp_path), World())
    before = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")  # as DVC does before a stage
    monkeypatch.setattr(train_sync, "train_step", None)
    train(job(data_dir, tmp_path), World())
    assert files(tmp_path / "out") == before


# Sixteen to learn from and six to judge by. Over seeds and processors, accuracy in this test was 0.63 to 0.80 with four and
# two people, and 0.69 to 0.88 with eight and six.
CROWD = {
    **dict.fromkeys("ann bob cat dan gus hal ida jon oda pia quy roy sue tim uma vic".split(), "train"),
    **dict.fromkeys(("eve", "flo", "kim", "lea", "max", "ned"), "val"),
}


def cards_of_own_and_shuffled_sound(seed: int, folder: Path) -> dict[str, dict]:
    """The same training on the same lips, with their own sound and with the sound of other recordings: name → card.

    Grey lips and 110 steps: enough to have learned whatever the seed. The gate stands midway between chance and what is
    learned.
    """
    given = {"judge_steps": 110, "batch": 24, "width": 8, "embed": 32, "grey": True, "lr": 3e-3, "gate": 0.65}
    cards = {}
    for name in ("own", "shuffled"):
        write_corpus(folder / name / "data", "lrs2", CROWD, 3.0, shuffled=name == "shuffled")
        which = job(folder / name / "data", folder / name, eval_every=110, eval_trials=2600, judge_seed=seed, **given)
        cards[name] = train(which, World())
    return cards


def gate_numbers(cards: dict[str, dict]) -> dict[str, float]:
    own, shuffled = (cards[name]["held_out"]["accuracy"] for name in ("own", "shuffled"))
    return {
        "accuracy, own sound": own,
        "accuracy, shuffled sound": shuffled,
        "own less shuffled": own - shuffled,
        "offset, own sound (frames)": abs(cards["own"]["offset_frames"]),
    }


GATE = Margin(
    "test_shuffled_sound_fails_the_gate_and_its_own_passes_it",
    lambda seed, folder: gate_numbers(cards_of_own_and_shuffled_sound(seed, folder)),
    {
        "accuracy, own sound": Between(low=0.7),
        "accuracy, shuffled sound": Between(0.4, 0.6),  # chance is 0.5
        "own less shuffled": Between(low=0.15),
        "offset, own sound (frames)": Between(high=0),
    },
    seed=2,
)


@pytest.mark.slow
def test_shuffled_sound_fails_the_gate_and_its_own_passes_it(tmp_path):
    cards = cards_of_own_and_shuffled_sound(GATE.seed, tmp_path)
    GATE.check(gate_numbers(cards))
    own, shuffled = cards["own"], cards["shuffled"]
    assert own["passes"] and not shuffled["passes"]
    check_gate(own, 0.5)
    check_gate(shuffled, 0.0)
    with pytest.raises(
        SyncGateError,
        match=r"train.phases: sync: 0.5 .* right in 0\.[45]\d+ of held-out trials, below sync.gate = 0.65",
    ):
        check_gate(shuffled, 0.5)


def accuracy_with_tokens(seed: int, folder: Path) -> dict[str, float]:
    """As :func:`cards_of_own_and_shuffled_sound`, of a network that reads the speech backend's tokens."""
    given = {"judge_steps": 110, "batch": 24, "width": 8, "embed": 32, "grey": True, "lr": 3e-3, "audio": "tokens"}
    write_corpus(folder / "data", "lrs2", CROWD, 3.0)
    card = train(
        job(folder / "data", folder, eval_every=110, eval_trials=2600, judge_seed=seed, gate=0.65, **given), World()
    )
    return {
        "accuracy": card["held_out"]["accuracy"],
        "offset (frames)": abs(card["offset_frames"]),
    }


TOKENS = Margin(
    "test_a_network_learns_from_speech_tokens",
    accuracy_with_tokens,
    {"accuracy": Between(low=0.65), "offset (frames)": Between(high=0)},
    seed=2,
)


@pytest.mark.slow
def test_a_network_learns_from_speech_tokens(tmp_path):
    TOKENS.check(TOKENS.measure(TOKENS.seed, tmp_path))


def test_the_card_of_a_network_that_reads_tokens_names_their_backend(data_dir, tmp_path):
    which = job(data_dir, tmp_path, audio="tokens")
    which = dataclasses.replace(which, settings=dataclasses.replace(which.settings, speech=LOGMEL))
    card = train(which, World())
    network, read = load_expert(tmp_path / "out")
    assert read == card and card["token_dim"] == 80 and card["speech"]["backend"] == "logmel"
    samples = talkers_sound("eve", 2.0, 0)
    judge = TrainedJudge(network, read)
    assert judge.reads == "tokens" and np.array_equal(judge.audio_of(samples), LogMel().tokens(samples))
    frames = frames_of(talker("eve", 2.0, 0).lips)
    assert judge.measure(frames, BOX, samples=samples).windows > 0


@pytest.mark.slow
def test_the_module_runs_from_a_job_file_on_two_processes(data_dir, tmp_path):
    import socket

    which = job(data_dir, tmp_path, judge_steps=2, eval_every=2, processes=2)
    assert Job.from_json(which.to_json()) == which
    (tmp_path / "job.json").write_text(which.to_json())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "s3dnerf.training.train_sync", "--job", str(tmp_path / "job.json")],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "RANK": str(r),
                "WORLD_SIZE": "2",
                "LOCAL_RANK": str(r),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
        )
        for r in range(2)
    ]
    spoken = [process.communicate(timeout=240) for process in started]
    assert [p.returncode for p in started] == [0, 0], spoken
    assert "gate" in spoken[0][0] and spoken[1][0] == ""
    assert load_file(tmp_path / "out" / "weights.safetensors")


def test_a_loss_that_is_no_number_stops_with_what_to_do(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(train_sync, "expected_triplet_loss", lambda lips, *rest: lips.sum() * float("nan"))
    with pytest.raises(SyncTrainingError, match="sync.lr"):
        train(job(data_dir, tmp_path), World())


def test_silent_corpora_are_refused(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(train_sync.ClipPool, "at", lambda self, step: [])
    with pytest.raises(SyncDataError, match="silent"):
        train(job(data_dir, tmp_path), World())


def test_learning_rate_rises_and_falls():
    sync = settings(lr=1e-3).sync
    rates = [learning_rate(sync, step, 400) for step in range(400)]
    assert rates[0] == pytest.approx(1e-3 / 20) and max(rates) == pytest.approx(1e-3, rel=0.02) and rates[-1] < 6e-5
    assert rates.index(max(rates)) < 21 and all(learning_rate(sync, s, 2) > 0 for s in range(2))
    with joined("cpu") as world:
        assert world.size == 1
