"""A registered generator as MLflow loads it: in another process, in another folder, from the model's own code."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.champion import ALIAS, Registry
from flows.mlflow_client import MlflowError
from s3dnerf import TalkingHead
from s3dnerf.video.reading import read_frames

pytestmark = pytest.mark.slow

# what somebody does who has MLflow, this model's address and no checkout
LOADS = """
import sys
from pathlib import Path
import mlflow.pyfunc
import pandas as pd

model = mlflow.pyfunc.load_model("models:/s3dnerf-tiny@champion")
import s3dnerf
print("code", s3dnerf.__file__)
row = {name: Path(file).read_bytes() for name, file in zip(("portrait", "speech"), sys.argv[1:])}
for name, options in (("plain", {}), ("options", {"motion": "still", "blinks": False, "crop": True})):
    made = model.predict(pd.DataFrame([row]), params=options)
    Path(f"{name}.mp4").write_bytes(made["video"][0])
    print(name, made["frames"].tolist(), made["note"].tolist())
for wrong, options in ((row | {"portrait": sys.argv[1]}, {}), (row, {"motion": sys.argv[1]})):
    try:
        model.predict(pd.DataFrame([wrong]), params=options)
    except Exception as error:
        print("refused", error)
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, kit: Path) -> Registry:
    """A registry with a champion, which the generator of ``kit`` is."""
    registry = Registry("tiny", f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")
    registry.promote(registry.register(kit / "model", "a" * 40, "promoted: the first"))
    return registry


def outside(registry: Registry) -> dict[str, str]:
    """The environment of a process that knows the database and nothing of this checkout."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("S3DNERF", "MLFLOW", "PYTHONPATH"))}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    return kept | quiet | {"MLFLOW_TRACKING_URI": registry.tracking.uri, "OMP_NUM_THREADS": "1"}


def test_the_champion_makes_a_video_elsewhere_whose_frames_are_talkinghead_s(
    registry: Registry, kit: Path, tmp_path: Path
) -> None:
    files, elsewhere = (kit / "face.png", kit / "voice.wav"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOADS, *map(str, files)],
        cwd=elsewhere,
        env=outside(registry),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()
    models = Path(registry.tracking.uri.removeprefix("sqlite:///")).parent / "mlartifacts" / "models"
    assert Path(said[0].removeprefix("code ")).is_relative_to(models)
    assert said[1:3] == ["plain [4] ['']", "options [4] ['']"]
    assert (
        said[3].startswith(f"refused portrait: got the text '{str(kit)[:20]}")
        and "expected a file's contents" in said[3]
    )
    assert said[4] == f"refused motion: got {files[0]} — accepted: still, gentle"
    head = TalkingHead.load(kit / "model", device="cpu")
    for name, options in (("plain", {}), ("options", {"motion": "still", "blinks": False, "crop": True})):
        head.animate(*files, **options).write(tmp_path / f"{name}.mp4")
        ours, theirs = (np.stack(list(read_frames(at / f"{name}.mp4", np.arange(4)))) for at in (tmp_path, elsewhere))
        assert ours.shape[1:] == ((240, 260, 3) if name == "plain" else (256, 256, 3)) and np.array_equal(ours, theirs)


def test_mlflow_s_command_makes_one_of_json(registry: Registry, kit: Path, tmp_path: Path) -> None:
    given = {name: base64.b64encode((kit / file).read_bytes()).decode() for name, file in
             (("portrait", "face.png"), ("speech", "voice.wav"))}  # fmt: skip
    (tmp_path / "in.json").write_text(json.dumps({"dataframe_records": [given], "params": {"mark": True}}))
    words = ["models", "predict", "-m", f"models:/s3dnerf-tiny@{ALIAS}", "--env-manager", "local"]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *words, "-i", "in.json", "-o", "out.json"],
        cwd=tmp_path,
        env=outside(registry),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (made,) = json.loads((tmp_path / "out.json").read_text())["predictions"]
    (tmp_path / "out.mp4").write_bytes(base64.b64decode(made["video"]))
    assert made["frames"] == 4 and len(list(read_frames(tmp_path / "out.mp4", np.arange(4)))) == 4


def test_the_model_says_what_it_takes_gives_and_needs(registry: Registry) -> None:
    from mlflow.models import Model

    client = registry.tracking.client
    version = client.get_model_version_by_alias("s3dnerf-tiny", ALIAS)
    folder = Path(version.source.removeprefix("file://"))
    info = Model.load(str(folder))
    assert info.signature.inputs.input_names() == ["portrait", "speech"]
    assert info.signature.outputs.input_names() == ["video", "frames", "note"]
    assert {p.name: p.default for p in info.signature.params.params}["motion"] == "gentle"
    assert "labelled" in info.metadata["note"] and "torch==2.13.0" in (folder / "requirements.txt").read_text()
    assert "sqlalchemy==" in (folder / "constraints.txt").read_text() and (folder / "input_example.json").is_file()
    assert not (folder / "code/s3dnerf/pretrained").exists()
    logged = client.get_logged_model(info.model_id)
    assert (str(logged.status), logged.params["variant"], logged.source_run_id) == ("READY", "full", version.run_id)
    assert logged.artifact_location == version.source
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [
        {"name": "s3dnerf-tiny", "version": str(version.version)}
    ]
    assert client.get_run(version.run_id).info.status == "FINISHED"


def test_a_model_that_cannot_be_written_is_no_version_and_leaves_nothing_running(
    registry: Registry, kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = registry.tracking.client
    before = len(client.search_model_versions("name = 's3dnerf-tiny'"))

    def full(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client, "log_model_artifacts", full)
    with pytest.raises(MlflowError, match="No space left on device"):
        registry.register(kit / "model", "b" * 40, "promoted: the second")
    experiment = registry.tracking.experiment("tiny retrain")
    runs = client.search_runs([experiment])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]
    assert sorted(str(m.status) for m in client.search_logged_models([experiment])) == ["FAILED", "READY"]
    assert len(client.search_model_versions("name = 's3dnerf-tiny'")) == before


def test_a_version_from_before_there_were_models_is_still_the_champion(registry: Registry, kit: Path) -> None:
    old = Registry("older", registry.tracking.uri)
    client, tags = old.tracking.client, {"report_commit": "c" * 40, "generator_sha256": "d" * 64, "kept_out": ""}
    run = client.create_run(old.tracking.experiment("older retrain"))
    client.log_artifact(run.info.run_id, str(kit / "model" / "card.json"), "model")
    client.create_registered_model(old.name)
    version = client.create_model_version(old.name, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    client.set_registered_model_alias(old.name, ALIAS, version.version)
    champion = old.champion()
    assert champion is not None and (champion.version, champion.generator_sha256) == ("1", "d" * 64)
    second = old.register(kit / "model", "e" * 40, "promoted: the second")
    old.promote(second)
    assert old.champion() == second and second.version == "2"
