"""What an MLflow model of a generator is made of: its packages, its speech weights, what a call may ask for."""

from __future__ import annotations

import inspect
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from flows.model_package import PARAMS, ModelPackage, PackageError, example, pins, requirements, speech_weights
from s3dnerf import TalkingHead
from tests.fake_preset import settings_of
from tests.flows.retrain.played import small_card


def test_a_call_may_ask_for_what_animate_takes_with_the_same_defaults() -> None:
    known = inspect.signature(TalkingHead.animate).parameters
    assert {name: known[name].default for name in PARAMS} == PARAMS
    left = set(known) - set(PARAMS) - {"self", "portrait", "speech"}
    assert left == {"enhancer", "batch"}  # a network of one's own, and what is fastest on a machine


def test_packages_are_pinned_as_the_lock_pins_them(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(small_card())
    package = ModelPackage.of(tmp_path, tmp_path)
    assert {"torch==2.13.0", "mlflow==3.17.2", "face-recognition-models==0.3.0", "av==18.1.0"} <= set(package.packages)
    assert {"sqlalchemy", "huggingface-hub"} <= {line.partition("==")[0] for line in package.constraints}
    every = package.packages + package.constraints
    assert len(set(every)) == len(every) > 80 and not [
        line for line in every if line.startswith(("dvc", "prefect", "gradio"))
    ]
    plain, pinned = requirements(settings_of(), pins()), pins()
    other = requirements(settings_of(align={"backend": "insightface", "model_dir": "weights/insightface"}), pinned)
    assert set(other) - set(plain) == {"insightface", "onnxruntime"}
    lock, project = tmp_path / "requirements.lock", tmp_path / "pyproject.toml"
    lock.write_text("# resolved\nAlpha_Beta==1.0\nmlflow==3  # for the model\n")
    project.write_text('[project]\ndependencies = ["alpha.beta>=0.9", "gamma[extra]<3"]\n')
    assert pins(lock) == {"alpha-beta": "1.0", "mlflow": "3"}
    with pytest.raises(PackageError, match="does not pin gamma, which making a video needs"):
        requirements(settings_of(), pins(lock), project)
    lock.write_text(lock.read_text() + "gamma==2.5\n")
    assert requirements(settings_of(), pins(lock), project) == ["alpha-beta", "gamma", "mlflow"]


def test_speech_weights_are_found_in_the_project_then_in_the_user_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    assert speech_weights(settings_of(), tmp_path) == {}  # log-mel features need none
    heard = settings_of(speech={"backend": "whisper", "whisper_model": "weights/w.safetensors"})
    with pytest.raises(PackageError, match="weights/w.safetensors: no such file — expected the weights of the speech"):
        speech_weights(heard, tmp_path / "project")
    for place in (tmp_path / "user/s3dnerf", tmp_path / "project"):
        (place / "weights").mkdir(parents=True)
        (place / "weights/w.safetensors").touch()
        assert speech_weights(heard, tmp_path / "project") == {"speech.whisper_model": place / "weights/w.safetensors"}
    folder = settings_of(speech={"backend": "wav2vec2", "model": str(tmp_path / "project/weights")})
    assert speech_weights(folder, tmp_path) == {"speech.model": tmp_path / "project/weights"}


def test_a_folder_that_holds_no_generator_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="card.json: no such file — expected a folder written by train_s3dnerf"):
        ModelPackage.of(tmp_path, tmp_path)
    card = json.loads(small_card())
    del card["settings"]
    for text in ("weights", json.dumps(card)):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(PackageError, match="card.json: got .* — expected the card that train_s3dnerf writes"):
            ModelPackage.of(tmp_path, tmp_path)
    (tmp_path / "card.json").write_text(small_card())
    assert ModelPackage.of(tmp_path, tmp_path).facts()["speech"] == "logmel"


def test_the_example_is_a_small_picture_and_half_a_second_of_sound(tmp_path: Path) -> None:
    from s3dnerf.speech.audio import read_sound

    given = example()
    assert Image.open(io.BytesIO(given["portrait"])).size == (256, 256) and sum(map(len, given.values())) < 40_000
    (tmp_path / "speech").write_bytes(given["speech"])
    assert read_sound(tmp_path / "speech").samples.shape == (7680,)
