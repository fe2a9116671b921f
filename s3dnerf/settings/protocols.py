"""Named protocols: what is measured, on whom and how, under one name (``evaluate.protocol``).

A protocol is a set of values for the settings that decide what an evaluation measures: corpora, test people, how clips
are cut and cropped, the source frame, the seconds and frames measured, and what is done to the sound. Two reports
whose values differ measured different things. Pure functions over settings as plain mappings
(:func:`s3dnerf.settings.loading.as_dict`); docs/reference/protocols.md says where each list comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s3dnerf.core.errors import SettingsError

CUSTOM = "custom"
# of every evaluation
COMMON = (
    "sample.enabled",
    "evaluate.corpora",
    "ingest.clip_s",
    "ingest.min_clip_s",
    "align.size_px",
    "align.crop_factor",
    "align.crop_factor_min",
    "evaluate.source_frame",
    "evaluate.clip_s",
    "evaluate.max_clips_per_speaker",
    "evaluate.landmark_every",
    "evaluate.picture_every",
    "evaluate.identity_frames",
    "speech.sync_filter",
)
# where speech.sync_filter shifts or excludes clips whose sound is out of step
SHIFTED_SOUND = (
    "speech.sync_action",
    "speech.sync_unsure",
    "speech.sync_tolerance_frames",
    "speech.sync_max_frames",
)


@dataclass(frozen=True)
class Protocol:
    """One named protocol.

    Attributes
    ----------
    about : what it measures, in one sentence
    source : where it was published
    values : dotted setting → value; every setting that decides what is measured (:func:`protocol_values`)
    """

    about: str
    source: str
    values: Mapping[str, Any]


_PAPER: dict[str, Any] = {
    "sample.enabled": False,
    "evaluate.corpora": ["hdtf", "mead"],
    "ingest.clip_s": 10.0,
    "ingest.min_clip_s": 1.0,
    "align.size_px": 256,
    "align.crop_factor": 2.3,
    "align.crop_factor_min": 1.9,
    "evaluate.source_frame": "first",
    "evaluate.clip_s": 10.0,
    "evaluate.max_clips_per_speaker": 0,
    "evaluate.landmark_every": 1,
    "evaluate.picture_every": 1,
    "evaluate.identity_frames": 5,
    "speech.sync_filter": "off",
    "ingest.hdtf_test_speakers": [],
    "ingest.hdtf_test_fraction": 0.1,
    "ingest.mead_split": "sentence",
    "ingest.mead_views": ["front"],
}
# nineteen clips of nineteen people, each the first interval of its video (_000); no name has a recording's number
_GAGAVATAR = (
    "CatherineCortezMasto", "DeanHeller", "EricCantor", "ErikPaulsen", "GeoffDavis", "JoePitts", "JohnThune",
    "MartinHeinrich", "MikeDoyle", "ReincePriebus", "ReneeEllmers", "RichardShelby", "RobPortman", "RoyBlunt",
    "TimScott", "ToddYoung", "TomCotton", "TomPrice", "VickyHartzler",
)  # fmt: skip
_MEAD_ALONE = ("ingest.mead_split", "ingest.mead_views", "ingest.hdtf_test_fraction")

PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol(
        "all test clips of HDTF's held-out people and of MEAD's official test sentences, front view, from the first "
        "frame of each",
        "S³D-NeRF, section 4: HDTF and MEAD testing splits, 25 fps, 256²; it names no people and no lengths: a tenth "
        "of HDTF's people, drawn by a hash of the name, clips of at most 10 s",
        _PAPER,
    ),
    "hdtf_gagavatar": Protocol(
        "the first 10 s of each of the 19 HDTF clips that GAGAvatar tested on, from the first frame",
        "github.com/xg-chu/GAGAvatar, issue 40 (the clips; it drives them by video, on 100 frames of each)",
        {name: value for name, value in _PAPER.items() if name not in _MEAD_ALONE}
        | {
            "evaluate.corpora": ["hdtf"],
            "evaluate.max_clips_per_speaker": 1,
            "ingest.hdtf_test_speakers": list(_GAGAVATAR),
        },
    ),
}
NAMES = (*PROTOCOLS, CUSTOM)


def protocol_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted setting → value of those that decide what is measured under these settings.

    A setting that decides nothing is left out: MEAD's where MEAD is not measured, the share of HDTF's people where
    they are named. The order of people and of corpora decides nothing, so lists are sorted.
    """
    names = list(COMMON)

    def value(name: str) -> Any:
        section, _, field = name.partition(".")
        found = settings[section][field]
        return sorted(found) if isinstance(found, (list, tuple)) else found

    if value("speech.sync_filter") != "off":
        names += SHIFTED_SOUND
    if "hdtf" in value("evaluate.corpora"):
        named = value("ingest.hdtf_test_speakers")
        names += ["ingest.hdtf_test_speakers", *([] if named else ["ingest.hdtf_test_fraction"])]
    if "mead" in value("evaluate.corpora"):
        by_identity = value("ingest.mead_split") == "identity"
        names += ["ingest.mead_split", "ingest.mead_views", *(["ingest.mead_test_fraction"] if by_identity else [])]
    return {name: value(name) for name in names}


def check_protocol(settings: Mapping[str, Any]) -> None:
    """Raise SettingsError, naming the field, where a setting contradicts the protocol that ``evaluate.protocol`` names.

    ``custom`` is contradicted by nothing.
    """
    name = settings["evaluate"]["protocol"]
    if name == CUSTOM:
        return
    given, wanted = protocol_values(settings), PROTOCOLS[name].values
    for field, accepted in wanted.items():
        if given.get(field) != accepted:
            raise SettingsError(
                f"{field}: got {given.get(field)} — accepted with evaluate.protocol: {name}: {accepted} (for other "
                f"values, evaluate.protocol: {CUSTOM})"
            )


def stated_protocol(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a report states: ``name``, ``about``, ``source`` and ``values`` of the protocol in force."""
    name = settings["evaluate"]["protocol"]
    known = PROTOCOLS.get(name)
    about = known.about if known else "values chosen for this run"
    return {
        "name": name,
        "about": about,
        "source": known.source if known else "",
        "values": protocol_values(settings),
    }


def protocol_line(settings: Mapping[str, Any]) -> str:
    """The protocol in force in one line: its name and its values."""
    stated = stated_protocol(settings)

    def text(value: Any) -> str:
        if isinstance(value, list):
            return ", ".join(map(str, value)) or "none named"
        return str(value).lower() if isinstance(value, bool) else str(value)

    values = "; ".join(f"{name}: {text(value)}" for name, value in stated["values"].items())
    return f"{stated['name']} ({stated['about']}): {values}"
