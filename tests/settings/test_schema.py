"""Settings: every preset loads, and what is wrong is refused by name with what is accepted."""

from __future__ import annotations

import pytest
import yaml

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.yaml_text import dump_yaml, load_yaml
from s3dnerf.settings.loading import as_dict, load_settings, preset_settings, settings_from
from s3dnerf.settings.schema import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_survive_yaml(name: str) -> None:
    settings = preset_settings(name)
    assert settings.preset == name
    for read in (load_yaml, yaml.safe_load):  # YAML 1.2, and 1.1 as PyYAML reads it
        assert settings_from(read(dump_yaml(as_dict(settings)))) == settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alignn": {}}, ["alignn", "did you mean align?"]),
        ({"align": {"detect_evry": 3}}, ["align.detect_evry", "did you mean detect_every?"]),
        ({"align": {"detect_every": 0}}, ["align.detect_every", "0", "≥ 1"]),
        ({"align": {"detect_every": 1.5}}, ["align.detect_every", "1.5", "int"]),
        ({"align": {"detect_every": True}}, ["align.detect_every", "True", "int"]),
        ({"align": {"backend": "magic"}}, ["align.backend", "magic", "insightface"]),
        ({"train": {"lr_generator": "fast"}}, ["train.lr_generator", "fast", "float"]),
        ({"train": {"lr_generator": float("nan")}}, ["train.lr_generator", "nan"]),
        ({"train": {"variants": ["fulll"]}}, ["train.variants", "fulll", "no_sync"]),
        ({"train": {"variants": []}}, ["train.variants", "full"]),
        ({"model": {"image_px": 96}}, ["model.image_px", "96", "power of two"]),
        ({"preset": "huge"}, ["preset", "huge", "tiny"]),
        ({"raw": "here"}, ["raw", "here", "mapping"]),
        ({"lips": {"follow_frames": 6}}, ["lips.follow_frames", "6", "at least 9"]),
        ({"speech": {"sync_filter": "on"}}, ["speech.sync_filter", "on", "syncnet", "mouth"]),
        ({"ingest": {"same_person": [["A", 3]]}}, ["ingest.same_person", "3"]),
    ],
)
def test_wrong_settings_are_refused_by_name(given: dict, said: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        settings_from(given)
    for words in said:
        assert words in str(error.value)


def test_a_missing_or_broken_file_says_so(tmp_path) -> None:
    with pytest.raises(SettingsError, match="s3dnerf preset sample"):
        load_settings(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1\n")
    with pytest.raises(SettingsError, match="not YAML"):
        load_settings(tmp_path / "params.yaml")


def test_yaml_11_floats_are_numbers() -> None:
    assert settings_from(yaml.safe_load("sync: {lr: 1e-4}")).sync.lr == 1e-4
