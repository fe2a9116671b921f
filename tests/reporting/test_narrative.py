"""What the report says in words of its own statistics."""

from __future__ import annotations

import pytest

from s3dnerf.reporting import narrative
from s3dnerf.reporting.sources import Sources
from s3dnerf.reporting.summary import summarise
from s3dnerf.settings.loading import preset_settings
from tests.reporting.small_report import rows_of


def said(speakers: int) -> list[str]:
    """The sentences on HDTF of a report with so many test speakers and five tests against each control."""
    rows, settings = rows_of(speakers), preset_settings("tiny")
    found = narrative.verdicts(Sources(settings, rows), summarise(rows, "tiny", "s3dnerf", 100))
    return [line for line in found if line.startswith("HDTF has")]


@pytest.mark.parametrize(("speakers", "smallest"), [(1, "1.000"), (5, "0.312"), (7, "0.078")])
def test_too_few_speakers_are_said_with_how_many_are_needed(speakers: int, smallest: str) -> None:
    assert said(speakers) == [
        f"HDTF has {narrative.many(speakers, 'test speaker')}: with so few no test can give less than p = {smallest} "
        "after Holm, whatever the model does; 8 are needed for the 5 tests asked."
    ]


def test_enough_speakers_are_no_matter_for_a_sentence() -> None:
    assert said(8) == []
