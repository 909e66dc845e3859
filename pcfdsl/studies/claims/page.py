"""The page of claims: what was claimed, the paired difference here, one word, and everything it rests on."""

from collections.abc import Sequence
from pathlib import Path

from pcfdsl import __version__
from pcfdsl.config import load
from pcfdsl.datasets.sources import FractalSource, open_scenes
from pcfdsl.evaluate.statistics import summarize
from pcfdsl.store.atomic import write_file
from pcfdsl.studies.claims.judge import MIN_SEEDS, Judgement, judge
from pcfdsl.studies.claims.papers import CLAIMS
from pcfdsl.studies.claims.plan import Plan
from pcfdsl.studies.claims.run import Results, read_results
from pcfdsl.train.log import read_curves
from pcfdsl.train.tasks.detection import DetectorConfig
from pcfdsl.view.charts import interval_chart, line_chart
from pcfdsl.view.page import Picture, Section, Table, write_report
from pcfdsl.view.scenes import scene_items
from pcfdsl.view.sources import render_items

__all__ = ["write_claims_page"]

_COLORS = {"reproduced": "#2d9164", "contradicted": "#b3261e", "undecided": "#8a8f98"}


def write_claims_page(plan: Plan, out: str | Path) -> Path:
    """Write `claims.html`, which holds everything, and `claims.md` with its figures beside it.

    Args:
        plan: What was run.
        out: Its folder.

    Returns:
        Path of claims.html.
    """
    out = Path(out)
    results = read_results(plan, out)
    judgements = [judge(claim, results) for claim in CLAIMS]
    figures = {"claims_intervals.png": _intervals(judgements), "claims_curves.png": _curves(plan, out, results)}
    sections = [
        Section("Claims", [_count(judgements), _introduction(plan), _verdicts(judgements)]),
        Section("Differences", [*(Picture(f) for f in figures.values() if f), _differences(judgements)]),
        Section("Pre-training", [_pretrainings(plan), *_rooms(plan)]),
        Section("Arms", _arms(results)),
        Section("All runs", [_runs(results)]),
    ]
    text = [f"# Claims\n\n{_count(judgements)} {_introduction(plan)}\n"]
    for section in sections:
        tables = [block for block in section.blocks if isinstance(block, Table)]
        blocks = [(f"{table.caption}\n\n" if table.caption else "") + table.markdown() for table in tables]
        shown = [f"![{name}]({name})\n" for name, f in figures.items() if f] if section.heading == "Differences" else []
        text.append(f"## {section.heading}\n\n" + "\n".join([*shown, *blocks]))
    for name, figure in figures.items():
        if figure:
            write_file(out / name, figure)
    write_file(out / "claims.md", "\n".join(text).encode())
    return write_report(out / "claims.html", sections, title="Claims of the papers, run again")


def _count(judgements: Sequence[Judgement]) -> str:
    words = [judged.verdict for judged in judgements]
    return f"Of {len(words)} claims " + ", ".join(f"{words.count(word)} {word}" for word in _COLORS) + "."


def _introduction(plan: Plan) -> str:
    seeds = "each seed has a pre-training of its own" if plan.each_seed else "one pre-training serves all seeds"
    return (
        f"Plan `{plan.name}` of pcfdsl {__version__}. {plan.about} A claim is **reproduced** if every difference that "
        f"it predicts is as claimed by its 95 % interval (Student's t, paired by seed, at least {MIN_SEEDS} seeds), "
        "**contradicted** if an interval lies wholly on the other side, else **undecided**. Each verdict is about this "
        f"size and these targets, not about the papers' own experiments; {seeds}. Of twenty intervals one is expected "
        "to miss the truth by chance. In rooms, differences are those of mAP@0.25 and of mAP@0.5. `fine20` is "
        "fine-tuning on 20 pictures a class, `frozen20` a linear classifier on frozen features, `fine20_stem3` "
        "fine-tuning of the last stage alone. Where a paper does not report it, its column says so, and the claim is "
        "what the method implies."
    )


def _verdicts(judgements: Sequence[Judgement]) -> Table:
    rows = []
    for judged in judgements:
        here = "; ".join(difference.gain(100) for difference in judged.differences if difference)
        claim = judged.claim
        rows.append([claim.key, claim.says, claim.paper, here or "not run", f"**{judged.verdict}**", judged.takes])
    header = ["", "claim", "the paper", "here, points (95 %)", "verdict", "it would take"]
    return Table(header, rows)


def _differences(judgements: Sequence[Judgement]) -> Table:
    rows = [
        [judged.claim.key, contrast.what, "not run" if d is None else d.gain(100), 0 if d is None else d.num_values]
        for judged in judgements
        for contrast, d in zip(judged.claim.contrasts, judged.differences, strict=True)
    ]
    return Table(["claim", "difference", "points (95 %)", "seeds"], rows)


def _arms(results: Results) -> list[Table]:
    tables = []
    for study, arms in results.items():
        metrics = list(dict.fromkeys(name for runs in arms.values() for run in runs.values() for name in run))
        rows = []
        for arm, runs in arms.items():
            values = [[run[name] for run in runs.values() if name in run] for name in metrics]
            cells = [summarize(of_metric).format(100) if of_metric else "" for of_metric in values]
            rows.append([arm, len(runs), *cells])
        caption = f"{study}: percent, mean ± standard deviation over the seeds"
        tables.append(Table(["arm", "runs", *metrics], rows, caption))
    return tables


def _runs(results: Results) -> Table:
    rows = [
        [study, arm, case, ", ".join(f"{name} {100 * value:.1f}" for name, value in run.items())]
        for study, arms in results.items()
        for arm, runs in arms.items()
        for case, run in runs.items()
    ]
    return Table(["study", "arm", "run", "percent"], rows)


def _pretrainings(plan: Plan) -> Table:
    rows = [
        [name, made.task, f"`{made.recipe}`", " ".join(f"`{text}`" for text in made.settings)]
        for name, made in plan.pretrainings.items()
    ]
    return Table(["name", "task", "recipe", "changes"], rows)


def _intervals(judgements: Sequence[Judgement]) -> bytes | None:
    rows, colors = {}, []
    for judged in judgements:
        for contrast, d in zip(judged.claim.contrasts, judged.differences, strict=True):
            if d is not None and d.low is not None and d.high is not None:
                rows[f"{judged.claim.key}: {contrast.what}"] = (100 * d.mean, 100 * d.low, 100 * d.high)
                colors.append(_COLORS[judged.verdict])
    if not rows:
        return None
    return interval_chart(rows, colors=colors, x_label="points; green: reproduced, red: contradicted")


def _curves(plan: Plan, out: Path, results: Results) -> bytes | None:
    """Loss of the fine-tuning in the first study of rooms."""
    study = next((name for name in plan.rooms if name in results), None)
    if study is None:
        return None
    runs = [(arm, case) for arm, cases in results[study].items() for case in cases]
    folders = [out / "rooms" / study / arm / case for arm, case in runs]
    steps, losses = read_curves(folders, "loss", kind="train")
    series = {arm: losses[[k for k, run in enumerate(runs) if run[0] == arm]] for arm in results[study]}
    return line_chart(series, x=steps, x_label="step", y_label="loss", title=f"Fine-tuning, study {study}")


def _rooms(plan: Plan) -> list[Picture]:
    """A room of each pre-training by detection that differs from the others in its fractals."""
    items, seen = [], set()
    for name, made in plan.pretrainings.items():
        if made.task != "detection":
            continue
        data = load(DetectorConfig, made.recipe, made.settings).data
        if isinstance(data, FractalSource) and data not in seen:
            seen.add(data)
            scenes = open_scenes(data)
            items += scene_items([scenes.scenes[0]], classes=scenes.classes, captions=[name])
    return [Picture(render_items(items), "Rooms that were pre-trained on, coloured by object.")] if items else []
