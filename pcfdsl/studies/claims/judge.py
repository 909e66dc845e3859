"""From runs to a word for each claim: reproduced, contradicted or undecided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

from pcfdsl.evaluate.statistics import Summary, summarize
from pcfdsl.studies.claims.papers import Claim, Contrast
from pcfdsl.studies.claims.run import Results

__all__ = ["MIN_SEEDS", "Judgement", "Verdict", "judge", "measure"]

MIN_SEEDS = 5
_MANY = 1000
Verdict = Literal["reproduced", "contradicted", "undecided"]


@dataclass(frozen=True)
class Judgement:
    """What the runs say about a claim.

    Attributes:
        claim: The claim.
        differences: One for each contrast; None where a run is missing.
        verdict: One word.
        takes: What it would take to decide; empty where it is decided.
    """

    claim: Claim
    differences: Sequence[Summary | None]
    verdict: Verdict
    takes: str


def measure(contrast: Contrast, results: Results) -> Summary | None:
    """The difference over the seeds that all runs of a contrast have; None without one."""
    runs = [results.get(study, {}).get(arm, {}) for study, arm in (*contrast.plus, *contrast.minus)]
    cases = [case for case in runs[0] if all(case in run and contrast.metric in run[case] for run in runs)]
    if not cases:
        return None
    signs = [1.0] * len(contrast.plus) + [-1.0] * len(contrast.minus)
    return summarize(
        [sum(s * run[case][contrast.metric] for s, run in zip(signs, runs, strict=True)) for case in cases]
    )


def judge(claim: Claim, results: Results) -> Judgement:
    """Reproduced if every difference is as claimed by its 95 % interval over five seeds or more, contradicted if one is
    against the claim by its interval, else undecided."""
    differences = [measure(contrast, results) for contrast in claim.contrasts]
    words = [_word(c, d) for c, d in zip(claim.contrasts, differences, strict=True)]
    if "contradicted" in words:
        return Judgement(claim, differences, "contradicted", "")
    if words and all(word == "reproduced" for word in words):
        return Judgement(claim, differences, "reproduced", "")
    if not claim.contrasts:
        return Judgement(claim, differences, "undecided", claim.needs)
    takes = [
        _takes(c, d) for c, d, word in zip(claim.contrasts, differences, words, strict=True) if word == "undecided"
    ]
    return Judgement(claim, differences, "undecided", "; ".join(dict.fromkeys(takes)))


def _word(contrast: Contrast, difference: Summary | None) -> Verdict:
    if difference is None or difference.low is None or difference.high is None or difference.num_values < MIN_SEEDS:
        return "undecided"
    low, high = difference.low, difference.high
    if contrast.within is None:
        return "reproduced" if low > 0 else "contradicted" if high < 0 else "undecided"
    if max(-low, high) <= contrast.within:
        return "reproduced"
    return "contradicted" if low > contrast.within or high < -contrast.within else "undecided"


def _takes(contrast: Contrast, difference: Summary | None) -> str:
    if difference is None:
        return "a plan that runs it"
    if difference.num_values < MIN_SEEDS or difference.deviation is None:
        return f"{MIN_SEEDS} seeds"
    margin = difference.mean if contrast.within is None else contrast.within - abs(difference.mean)
    if margin <= 0:
        return "more seeds, which at this mean would go against the claim"
    for count in range(MIN_SEEDS, _MANY):
        if stdtrit(count - 1, 0.975) * difference.deviation / math.sqrt(count) < margin:
            return f"about {count} seeds, if mean and spread stay as they are"
    return f"more than {_MANY:,} seeds"
