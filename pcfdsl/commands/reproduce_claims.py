"""The papers' claims, run again at laptop size: one page with a verdict for each. Run again to resume."""

import argparse
import sys

from pcfdsl.command_line import Several, add_open, needs, open_page, positive

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.studies.claims.plan import PLANS

    costs = " ".join(f"{name}: {plan.about}" for name, plan in PLANS.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=costs)
    parser.add_argument("--plan", choices=tuple(PLANS), help="what to run (default: small)")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of all runs and of claims.html")
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="trainings at a time (default: 2)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        nargs="+",
        action=Several,
        default=[],
        help="a folder of real pictures to fine-tune on, as for image-study; by default drawn furniture",
    )
    parser.add_argument(
        "--report-only", action="store_true", help="write the page of what is finished, and train nothing"
    )
    add_open(parser)
    args = parser.parse_args()
    with needs("image"):
        from pcfdsl.studies.claims.page import write_claims_page
        from pcfdsl.studies.claims.run import plan_of, run_plan
        from pcfdsl.studies.image_arms import ARMS, DEEPCLUSTER
        from pcfdsl.train.tasks.table import TASKS
    failures = []
    if args.report_only:
        plan = plan_of(args.out)
        if args.data or args.plan not in (None, plan.name):
            parser.error(f"--report-only shows what is in {args.out}, of plan {plan.name}; leave --plan and --data out")
    else:
        plan = PLANS[args.plan or "small"]
        if plan.pictures is not None and DEEPCLUSTER in (plan.pictures.arms or ARMS):
            TASKS["self_supervised"]()  # says so if its extra is missing
        how = {
            "workers": args.workers,
            "pictures": args.data,
            "progress": lambda line: print(line, file=sys.stderr, flush=True),
        }
        failures = run_plan(plan, args.out, **how)
    page = write_claims_page(plan, args.out)
    if args.open:
        open_page(page)
    if failures:
        raise ValueError(f"{page} is written, but {len(failures)} job(s) failed:\n  " + "\n  ".join(failures))
    return {"page": str(page), "markdown": str(page.with_suffix(".md"))}
