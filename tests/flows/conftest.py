"""What tests of the command line share: a person's files, and the command typed in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from flows import cli
from s3dnerf.speech.audio import wav_bytes
from s3dnerf.video.reading import read_frames
from tests.faces.drawn_clips import make_talking_video
from tests.fake_preset import make_generator, settings_of


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """``typed("evaluate", …)``: the command in this process; its exit status, what it printed, what it complained of."""
    threads = torch.get_num_threads()

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["s3dnerf", *map(str, words)])
        Path("dvc.yaml").touch()  # a project's folder
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    yield run
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person with a portrait and a wav has: a synthetic face, a voice, a tiny generator that nobody trained."""
    import cv2

    root = tmp_path_factory.mktemp("kit")
    video, _ = make_talking_video(root / "film", seconds=0.4)
    frames = np.stack(list(read_frames(video, np.arange(10))))
    np.save(root / "frames.npy", frames)
    for name, picture in {
        "face": frames[3],
        "two": np.concatenate([frames[3], frames[3]], axis=1),
        "wall": np.full_like(frames[3], 90),
    }.items():
        cv2.imwrite(str(root / f"{name}.png"), picture[..., ::-1])
    (root / "voice.wav").write_bytes(wav_bytes((0.3 * np.sin(np.arange(2000) * 0.2)).astype(np.float32)))
    (root / "silence.wav").write_bytes(wav_bytes(np.zeros(2000, np.float32)))
    (root / "text.wav").write_text("not a sound")
    make_generator(root / "model", settings_of(), speech_dim=80)
    return root
