"""Our YAML is DVC's: what DVC writes is read as it was meant, and what is written here reads alike by YAML 1.1 and 1.2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import modify_yaml

from s3dnerf.core.yaml_text import YamlError, dump_yaml, load_yaml
from s3dnerf.settings.loading import as_dict, load_settings, preset_settings
from s3dnerf.settings.schema import PRESETS

ODD = [
    "off", "On", "yes", "NO", "n", "Y", "true", "null", "~", "", "1e-4", "1e5", "014", "0o14", "0x1f", "0b11", "1_000",
    "1:30", "-1:30:00", "2020-01-01", ".inf", ".nan", "+1", "=", "<<", "a: b", "x #y", "- x", "@x", "é", "two\nlines",
    1e-05, 1e-4, -1.5e-7, 1e22, 0.1, 3, True, None, [], {}, [1, "no", None],
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_both_versions_of_yaml_read_what_is_written(value: Any) -> None:
    for whole in ({"field": value}, {"list": [value, "x"]}):
        text = dump_yaml(whole)
        assert load_yaml(text) == whole and yaml.safe_load(text) == whole, text


@pytest.mark.parametrize("name", PRESETS)
def test_params_survive_a_change_through_dvc_line_by_line(tmp_path: Path, name: str) -> None:
    """DVC drops the quotes of 'off' and writes the rest as it was: one setting changed is one setting changed."""
    path, settings = tmp_path / "params.yaml", preset_settings(name)
    path.write_text(dump_yaml(as_dict(settings)), encoding="utf-8")
    before = path.read_text(encoding="utf-8").splitlines()
    with modify_yaml(path) as values:
        values["train"]["steps"] = 6
        values["train"]["lr_final"] = 0.0001
        values["speech"]["sync_filter"] = "off"
    after = path.read_text(encoding="utf-8").splitlines()
    assert [new.strip() for old, new in zip(before, after, strict=True) if old.replace("'", "") != new] == [
        *(["sync_filter: off"] if settings.speech.sync_filter != "off" else []),
        "steps: 6",
        "lr_final: 0.0001",
    ]
    wanted = as_dict(settings)
    wanted["train"] |= {"steps": 6, "lr_final": 1e-4}
    wanted["speech"]["sync_filter"] = "off"
    assert as_dict(load_settings(path)) == wanted


def test_bare_words_and_exponents_mean_what_they_say() -> None:
    text = "{sync_filter: off, lpips: off, sample: {enabled: on}, lr: 1e-4, other: 1e-05}"
    assert load_yaml(text) == {"sync_filter": "off", "lpips": "off", "sample": {"enabled": "on"}, "lr": 1e-4, "other": 1e-5}  # fmt: skip


@pytest.mark.parametrize(
    "text", [b"\xff", "a: [", "a: 2020-99-99", "a: 1\na: 2", "\x00", "!!python/object:os.system x"]
)
def test_what_is_not_yaml_is_one_error_of_ours(text: str | bytes) -> None:
    with pytest.raises(YamlError):
        load_yaml(text)
