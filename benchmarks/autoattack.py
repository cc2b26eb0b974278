"""Our AutoAttack against the reference implementation: agreement and speed.

    python -m benchmarks.autoattack --reference PATH agreement [--norm l2] [--images 1000] [--seeds 3]
    python -m benchmarks.autoattack --reference PATH speed [--only square] [--repeats 3]

PATH is a checkout of https://github.com/fra31/auto-attack; ROBUSTLAB_REFERENCE can name it as well. The agreement is
made of units (norm, who, seed) that are kept under ``runs/benchmarks/autoattack`` stage by stage, so that a killed
benchmark goes on; ``--unit ours:0`` does a single one.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from benchmarks import agreement, autoattack_speed, reference, units
from benchmarks.timing import machine, table


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="checkout of the reference implementation")
    works = parser.add_subparsers(dest="work", required=True)
    agree = works.add_parser("agreement", help="robust accuracy, example by example")
    agree.add_argument("--norm", choices=sorted(agreement.THREATS), help="default: all")
    agree.add_argument("--images", type=int, default=1000)
    agree.add_argument("--seeds", type=int, default=3, help="of the reference")
    agree.add_argument("--own-seeds", type=int, default=1, help="of ours; the first is the one that is compared")
    agree.add_argument("--unit", help="one run, ours:0 or reference:2 say")
    agree.add_argument("--kept", action="store_true", help="show what is kept and run nothing")
    speed = works.add_parser("speed", help="seconds against the reference and the bare limit")
    speed.add_argument("--only", choices=sorted(autoattack_speed.WORKS), help="default: all")
    speed.add_argument("--repeats", type=int, default=3, help="of the short works; the long one is run once")
    return parser.parse_args()


def agree(options: argparse.Namespace, checkout: Path) -> None:
    """Runs what is missing and prints the tables."""
    stages: list[agreement.Row] = []
    verdicts: list[agreement.Row] = []
    apart: list[agreement.Row] = []
    alone: list[agreement.Row] = []
    for norm in [options.norm] if options.norm else agreement.THREATS:
        seeds = {"seeds": options.seeds, "own_seeds": options.own_seeds}
        works = agreement.works(norm, images=options.images, **seeds, checkout=checkout)
        if options.unit:
            works = [work for work in works if f"{work.who}:{work.seed}" == options.unit]
        done = [
            (work, unit) for work in works if (unit := units.load(work.path) if options.kept else agreement.run(work))
        ]
        stages += agreement.stage_rows(done)
        done = [pair for pair in done if agreement.complete(pair[1])]
        ours, theirs = ([unit for work, unit in done if work.who == who] for who in ("ours", "reference"))
        if ours and theirs:
            verdicts.append(agreement.verdict(norm, ours, theirs, options.images))
            apart += agreement.disagreement_rows(norm, ours[0], theirs)
            alone += agreement.alone_rows([pair for pair in done if pair[1] in (ours[0], *theirs)])
    print("\n\n".join(table(rows) for rows in (verdicts, stages, alone, apart) if rows) + "\n", flush=True)


def main() -> None:
    """Prints the selected tables."""
    options = parsed()
    checkout = reference.find(options.reference)
    warnings.simplefilter("ignore")
    print(f"{machine()}, reference {reference.revision(checkout)}\n")
    if options.work == "agreement":
        agree(options, checkout)
    else:
        for name, work in autoattack_speed.WORKS.items():
            if options.only in (None, name):
                print(table(work(options.repeats)) + "\n", flush=True)


if __name__ == "__main__":
    main()
