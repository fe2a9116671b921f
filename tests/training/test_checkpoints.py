"""Checkpoints: whole or refused, and a resumed run equal to the bit."""

import random

import numpy as np
import pytest
import torch

from s3dnerf.training.checkpoints import (
    data_fingerprint,
    load_checkpoint,
    random_states,
    save_checkpoint,
    set_random_states,
)


def _train(steps: int, state: dict | None = None, stop: int | None = None) -> tuple[dict, dict]:
    """A little training that draws from all three random generators; returns weights and the state at the stop."""
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    net = torch.nn.Linear(4, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    first = 0
    if state:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        set_random_states(state["random"])
        first = state["step"]
    for step in range(first, steps):
        if step == stop:
            return net.state_dict(), {
                "step": step,
                "net": net.state_dict(),
                "optimizer": optimizer.state_dict(),
                "random": random_states(),
            }
        x = torch.randn(5, 4) * np.random.rand() + random.gauss(0, 1)
        loss = net(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.state_dict(), {}


def test_resumed_run_is_equal_to_the_bit(tmp_path):
    whole, _ = _train(8)
    _, state = _train(8, stop=3)
    save_checkpoint(tmp_path / "c.pt", state)
    torch.randn(7), np.random.rand(7), random.random()
    resumed, _ = _train(8, load_checkpoint(tmp_path / "c.pt"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not torch.equal(whole["weight"], state["net"]["weight"])


@pytest.mark.parametrize("harm", ["cut", "flip", "header", "empty"])
def test_damaged_file_is_refused_and_the_previous_one_used(tmp_path, caplog, harm):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"step": 1, "w": torch.arange(1000.0)})
    save_checkpoint(path, {"step": 2, "w": torch.arange(1000.0) + 1})
    data = bytearray(path.read_bytes())
    if harm == "cut":
        data = data[:-200]
    elif harm == "flip":
        data[2000] ^= 1
    elif harm == "header":
        data = b"something else " + data
    else:
        data = b""
    path.write_bytes(bytes(data))
    assert load_checkpoint(path)["step"] == 1
    (line,) = caplog.messages
    assert "refused" in line and str(path) in line


def test_missing_gives_none_and_both_damaged_gives_none(tmp_path, caplog):
    path = tmp_path / "c.pt"
    assert load_checkpoint(path) is None
    for step in (1, 2):
        save_checkpoint(path, {"step": step})
    for file in tmp_path.iterdir():
        file.write_bytes(b"rubbish")
    assert not caplog.messages and load_checkpoint(path) is None
    assert len(caplog.messages) == 2


def test_nothing_but_two_files_is_left(tmp_path):
    for step in range(4):
        save_checkpoint(tmp_path / "c.pt", {"step": step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.pt", "c.pt.previous"]
    assert load_checkpoint(tmp_path / "c.pt")["step"] == 3


def test_killed_between_the_two_renames_the_previous_one_is_used(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {"step": 5})
    (tmp_path / "c.pt").rename(tmp_path / "c.pt.previous")
    assert load_checkpoint(tmp_path / "c.pt")["step"] == 5


@pytest.mark.parametrize("bad", [np.zeros(2), np.float64(1.0), object(), {"inner": [1, np.int64(2)]}])
def test_what_a_weights_only_reader_would_refuse_is_refused_when_saving(tmp_path, bad):
    with pytest.raises(TypeError, match="state.thing"):
        save_checkpoint(tmp_path / "c.pt", {"thing": bad})
    assert not list(tmp_path.iterdir())


def test_data_fingerprint_follows_names_and_content(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"one")
    before = data_fingerprint([tmp_path / "a"])
    (tmp_path / "a" / "x").touch()
    assert data_fingerprint([tmp_path / "a"]) == before
    (tmp_path / "a" / "x").write_bytes(b"two")
    changed = data_fingerprint([tmp_path / "a"])
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert len({before, changed, data_fingerprint([tmp_path / "a"])}) == 3


def test_a_fingerprint_is_of_the_content_at_any_size(tmp_path):
    """More than 4 GiB (a file with a hole), of which only the times change: once that was another key."""
    import os

    (tmp_path / "a").mkdir()
    large = tmp_path / "a" / "p.tar"
    with open(large, "wb") as handle:
        handle.truncate((4 << 30) + 1)
    (tmp_path / "a" / "packs.json").write_text('{"p.tar": "0123"}')  # recorded when it was made: it is not read again
    before = data_fingerprint([tmp_path / "a"])
    os.utime(large, (1e9, 1e9))
    assert data_fingerprint([tmp_path / "a"]) == before
    (tmp_path / "a" / "packs.json").write_text('{"p.tar": "4567"}')
    assert data_fingerprint([tmp_path / "a"]) != before


@pytest.mark.parametrize("record", [None, "not json", "[1]", '{"another.tar": "0123"}'])
def test_files_without_a_recorded_hash_count_by_their_bytes(tmp_path, record):
    (tmp_path / "p.tar").write_bytes(b"one")
    if record is not None:
        (tmp_path / "packs.json").write_text(record)
    before = data_fingerprint([tmp_path])
    (tmp_path / "p.tar").write_bytes(b"two")
    assert data_fingerprint([tmp_path]) != before
