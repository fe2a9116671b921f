"""Whisper's files from outside are data: a pickle in any place that reads them is refused, and not run."""

import shutil
from pathlib import Path

import pytest

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.speech.ctranslate2 import read_ctranslate2
from s3dnerf.speech.whisper import load_encoder
from tests.speech.whisper_files import whisper_folder
from tests.test_outside_files import CALL, KINDS, Trap

PLACES = {
    "pytorch_model.bin": CALL,
    "model.safetensors": "model.safetensors: not a safetensors file: .*header",
    "one.safetensors": "one.safetensors: not a safetensors file: .*header",
    "model.bin": "not a whole CTranslate2 file",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_code_in_a_weight_file_is_not_run(place: str, kind: str, tmp_path: Path) -> None:
    folder = whisper_folder(tmp_path / "outside")
    shutil.move(folder / "model.safetensors", tmp_path / "sound.safetensors")
    KINDS[kind]({"encoder.conv1.weight": Trap(tmp_path / "ran")}, folder / place)
    with pytest.raises(S3DNeRFError, match=PLACES[place]):
        if place == "model.bin":
            read_ctranslate2(folder / place)
        else:
            load_encoder(str(folder / place if place.startswith("one") else folder), 1)
    assert not (tmp_path / "ran").exists(), "the file's code was run"
