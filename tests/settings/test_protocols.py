"""Named protocols: each is whole, contradicts nothing it stands for, and refuses every other value by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s3dnerf.core.errors import SettingsError
from s3dnerf.corpora.hdtf import Annotation, parse_lists
from s3dnerf.corpora.splits import hdtf_speaker
from s3dnerf.settings.loading import as_dict, preset_settings, settings_from
from s3dnerf.settings.protocols import CUSTOM, PROTOCOLS, protocol_line, protocol_values, stated_protocol

HDTF_LISTS = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "HDTF" / "HDTF_dataset"


def given_by(name: str) -> dict[str, Any]:
    """Settings that a protocol stands for, as a params.yaml would say them."""
    given: dict[str, Any] = {"evaluate": {"protocol": name}}
    for field, value in PROTOCOLS[name].values.items():
        section, _, last = field.partition(".")
        given.setdefault(section, {})[last] = value
    return given


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_fixes_every_setting_that_decides_what_is_measured(name: str) -> None:
    settings = as_dict(settings_from(given_by(name)))
    assert protocol_values(settings) == PROTOCOLS[name].values
    stated = stated_protocol(settings)
    assert (stated["name"], stated["values"]) == (name, PROTOCOLS[name].values) and stated["source"]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("evaluate", "clip_s", 5.0),
        ("evaluate", "source_frame", "calm"),
        ("evaluate", "corpora", ["hdtf", "portraits"]),
        ("evaluate", "max_clips_per_speaker", 3),
        ("evaluate", "picture_every", 2),
        ("align", "crop_factor", 2.5),
        ("ingest", "hdtf_test_speakers", ["TimScott"]),
        ("ingest", "clip_s", 4.0),
        ("speech", "sync_filter", "mouth"),
        ("sample", "enabled", True),
    ],
)
def test_a_setting_that_contradicts_the_named_protocol_is_refused(name: str, section: str, field: str, value) -> None:
    given = given_by(name)
    given[section] = given.get(section, {}) | {field: value}
    with pytest.raises(SettingsError, match=rf"^{section}\.{field}: got .* accepted with evaluate.protocol: {name}: "):
        settings_from(given)
    given["evaluate"]["protocol"] = CUSTOM
    assert stated_protocol(as_dict(settings_from(given)))["name"] == CUSTOM


def test_presets_say_by_which_protocol_they_measure() -> None:
    assert preset_settings("paper").evaluate.protocol == "paper"
    for name in ("tiny", "sample", "mini"):
        settings = as_dict(preset_settings(name))
        line = protocol_line(settings)
        assert line.startswith("custom (") and f"evaluate.clip_s: {settings['evaluate']['clip_s']};" in line
    assert "sample.enabled: true; evaluate.corpora: hdtf, mead;" in protocol_line(as_dict(preset_settings("tiny")))
    assert "ingest.hdtf_test_speakers: Ames, Boone;" in protocol_line(as_dict(preset_settings("tiny")))
    assert "ingest.hdtf_test_speakers: none named;" in protocol_line(as_dict(preset_settings("paper")))


def test_settings_that_decide_nothing_here_are_no_part_of_a_protocol() -> None:
    alone = protocol_values(as_dict(settings_from({"evaluate": {"corpora": ["mead"]}})))
    assert not [name for name in alone if "hdtf" in name] and "ingest.mead_views" in alone
    named = protocol_values(as_dict(settings_from({"ingest": {"hdtf_test_speakers": ["B", "A"]}})))
    assert named["ingest.hdtf_test_speakers"] == ["A", "B"] and "ingest.hdtf_test_fraction" not in named
    shifted = protocol_values(as_dict(settings_from({"speech": {"sync_filter": "mouth"}})))
    assert shifted["speech.sync_max_frames"] == 6 and "speech.sync_max_frames" not in named


@pytest.mark.skipif(not HDTF_LISTS.is_dir(), reason="../shared/corpora/HDTF/HDTF_dataset is not here")
def test_hdtf_s_own_lists_have_each_person_of_the_published_list_once() -> None:
    """One video each, with a crop for its first interval: the clip ``_000`` that the list names."""
    videos: dict[str, list[Annotation]] = {}
    texts = {path.name: path.read_text(encoding="utf-8-sig") for path in HDTF_LISTS.glob("*.txt")}
    for entry in parse_lists(texts).values():
        videos.setdefault(hdtf_speaker(entry.video), []).append(entry)
    people = PROTOCOLS["hdtf_gagavatar"].values["ingest.hdtf_test_speakers"]
    assert len(set(people)) == 19
    assert [len(videos[name]) for name in people] == [1] * 19
    assert all(videos[name][0].intervals[0] is not None and 0 in videos[name][0].crops for name in people)
