# SPDX-License-Identifier: Apache-2.0
"""`infwidth doctor`: what to run first on a machine: are its devices right, and how fast?"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infwidth.atomic import write_atomically
from infwidth.cli.parser import settings_options
from infwidth.config.settings import Settings
from infwidth.layout import Layout


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "doctor", help="check this machine's devices against known losses, and time them"
    )
    settings_options(parser, "doctor", _run)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--record", type=Path, metavar="FILE", help=argparse.SUPPRESS)


def _run(args: argparse.Namespace, _: Settings, __: Layout) -> int:
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.pins import pin_cpu
    from infwidth.training.devices import gpu_count

    if gpu_count() == 0:
        pin_cpu()

    from infwidth.artifact.doctor.report import examine

    if args.record is not None:
        from infwidth.artifact.doctor.checks import losses
        from infwidth.config.variants import VARIANTS

        # The known ones, of a CPU.
        known = {variant: losses(variant, "float32") for variant in VARIANTS}
        write_atomically(args.record, json.dumps(known, indent=2) + "\n")
        return 0
    if args.json:
        report = examine()
        print(json.dumps(report, indent=2))
    else:
        console = Console(highlight=False)
        with console.status("") as status:
            report = examine(lambda row: status.update(f"{row['check']}, {row['precision']}"))
        _print(report, console)
    return 0 if report["verdict"] == "sound" else 1


def _print(report: dict[str, Any], console: Console) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("check", "precision", "largest difference", "tolerance", ""):
        table.add_column(column)
    for row in report["checks"]:
        if "error" in row:
            table.add_row(row["check"], row["precision"], "", "", "[red]failed[/]")
            continue
        verdict = "sound" if row["sound"] else "[red]wrong[/]"
        numbers = f"{row['difference']:.1e}", f"{row['tolerance']:.0e}"
        table.add_row(row["check"], row["precision"], *numbers, verdict)
    for device in report["devices"]:
        memory = device["memory_bytes"]
        told = "memory not told" if memory is None else f"{memory / 2**30:.1f} GiB"
        console.print(f"{device['device']}: {device['kind']}, {told}")
    console.print(table)
    if unchecked := report["unchecked"]:
        console.print(
            f"not checked, since no losses are known: {len(unchecked)} of the variants "
            f"({', '.join(unchecked)})",
            soft_wrap=True,
        )
    for row in report["chosen"]:
        console.print(
            f"{row['precision']}: attention {row['attention']}; loss over {row['vocabulary_size']} "
            f"pieces in blocks of {row['loss_block']} of {row['tokens']} tokens"
        )
    for row in report["speed"]:
        if "error" not in row:
            console.print(
                f"{row['precision']}: {row['tokens_per_s']:,.0f} tokens/s, {row['gflops']:,.0f} of "
                f"{row['peak_gflops']:,.0f} GFLOP/s ({row['share_of_peak']:.0%} of a product)"
            )
    for problem in report["problems"]:
        console.print(f"[red]problem:[/] {problem}", soft_wrap=True)
    console.print(f"Verdict: {report['verdict']} ({report['seconds']:.0f} s)")
