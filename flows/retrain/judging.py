"""Whether a challenger is no worse than the champion: margins, and what is compared with what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flows.audit import folder_report, report_at
from flows.champion import Champion
from flows.report_tables import finder
from s3dnerf.core.errors import SettingsError
from s3dnerf.reporting.comparison import Comparison, NotComparable, compare, markdown, page
from s3dnerf.settings.schema import Settings

# what must not get worse, and by which share of the champion's value it may at most be worse (the interval's bad end)
MARGINS = {"m_lmd": 0.05, "f_lmd": 0.05, "ssim": 0.02}
METRICS = frozenset({"ssim", "psnr", "lpips", "f_lmd", "m_lmd", "cpbd", "lse_c", "lse_d", "identity"})
# share of a corpus's test clips that may be missing beside the champion's: lost clips may be the hard ones
MOST_LOST = 0.1


def checked_margins(margins: Mapping[str, float] | None) -> Mapping[str, float]:
    """Margins of known metrics; :data:`MARGINS` where none are given. Raises SettingsError for another metric."""
    unknown = sorted(set(margins or {}) - METRICS)
    if unknown:
        raise SettingsError(f"margins: {', '.join(unknown)} — accepted: metrics of the report, such as m_lmd")
    return margins or MARGINS


def margins_of(words: tuple[str, ...]) -> dict[str, float] | None:
    """``("m_lmd=0.05",)`` as a mapping; None for none. Raises SettingsError for what is neither a metric nor a
    share.
    """
    found = {}
    for word in words:
        name, _, share = word.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            raise SettingsError(f"--margin {word}: accepted: METRIC=SHARE, for example m_lmd=0.05") from None
        if not 0 <= found[name] <= 10:
            raise SettingsError(f"--margin {word}: accepted: a share of the champion's value, 0 … 10")
    return found or None


def lost_clips(found: Comparison) -> tuple[bool, list[str]]:
    """Whether the challenger was measured on the champion's test clips, but for MOST_LOST of a corpus; a line where not
    on all of them.
    """
    lines, good = [], True
    for corpus, (common, lost, _) in found.clips.items():
        passed = lost <= MOST_LOST * (common + lost)
        good = good and passed
        if lost:
            word = "tolerated" if passed else "NOT shown to be no worse"
            lines.append(
                f"{lost} of the champion's {common + lost} test clips on {corpus} were not measured again: {word}"
            )
    return good, lines


def no_worse(
    found: Comparison, ours: str, margins: Mapping[str, float], directions: Mapping[str, str]
) -> tuple[bool, list[str]]:
    """Whether no metric that matters is worse than its margin allows, and a line for each.

    A metric passes on a corpus when the bad end of the 95 % interval of its change lies within ``margin`` times the
    champion's mean. With one speaker there is no interval, and nothing is shown: it does not pass.
    """
    lines, good, seen = [], True, set()
    for row in found.rows:
        if row.method != ours or row.metric not in margins:
            continue
        seen.add(row.metric)
        worst = row.high if directions[row.metric] == "down" else (None if row.low is None else -row.low)
        allowed = margins[row.metric] * abs(row.mean_a)
        passed = worst is not None and worst <= allowed
        good = good and passed
        shown = "no interval from one speaker" if worst is None else f"at worst {worst:+.4g}, {allowed:.4g} allowed"
        word = "no worse" if passed else "NOT shown to be no worse"
        lines.append(f"{row.metric} on {row.corpus}: {row.mean_a:.4g} → {row.mean_b:.4g}; {shown}: {word}")
    for metric in sorted(set(margins) - seen):
        good = False
        lines.append(f"{metric}: not measured on a clip that both have: NOT shown to be no worse")
    return good, lines


def judge(
    place: Path, repository: Path, settings: Settings, champion: Champion, margins: Mapping[str, float]
) -> tuple[bool, list[str], dict[str, str]]:
    """Compare the worktree's report with the champion's over the test clips that both have. Returns promote or not,
    lines, files.
    """
    old = report_at(champion.report_commit, settings.preset, repository)
    new = folder_report(place / "reports" / settings.preset, place)
    old.find = finder(repository, place)  # the champion was made in the worktree, whose cache is its own
    old.name, new.name = f"the champion, version {champion.version} ({champion.report_commit[:12]})", "the challenger"
    try:
        found = compare(old, new)
    except NotComparable as error:
        return False, [f"not comparable with the champion: {error}"], {}
    directions = {m["name"]: m["direction"] for m in new.document["metrics"]}
    whole, missing = lost_clips(found)
    good, lines = no_worse(found, new.document["methods"]["ours"], margins, directions)
    return (
        whole and good,
        [found.verdict(), *(f"not checked in full: {line}" for line in found.unchecked), *missing, *lines],
        {"comparison.md": markdown(found), "comparison.html": page(found)},
    )
