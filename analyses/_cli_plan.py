"""The command that says what a study costs before it is run; heavy imports wait until it does."""

from pathlib import Path
from typing import Annotated

import typer

from analyses._cli_errors import user_errors
from analyses._cli_studies import PAIRS, known_study, study_flags, study_preset


def plan(
    study: Annotated[str, typer.Argument(help="Name of the study; see `lens-personas studies`.")],
    model_config: Annotated[
        Path, typer.Option(help="The model's Hugging Face config.json, or its folder.")
    ],
    device: Annotated[
        str, typer.Option(help="cpu (one core), RTX-4090, L40S, A100-40, A100-80, H100, H200, B200")
    ],
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16: of the model's parameters.")
    ] = "bfloat16",
    devices: Annotated[
        int | None, typer.Option(min=1, help="Devices of a replica; default: as many as it needs.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Replicas that share the cells.")] = 1,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of the tokenizer; else the config's, else an estimate."),
    ] = None,
    requests: Annotated[str | None, typer.Option(help="JSONL or CSV of requests.")] = None,
    personas: Annotated[str | None, typer.Option(help="JSONL or YAML of personas.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="small, standard or full; default: standard, small for a part."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="YAML file of settings.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, key=value; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what a study costs, from the model's config alone: FLOPs, bytes, memory, hours."""
    with user_errors():
        if known_study(study) in PAIRS:
            raise ValueError(
                f"expected a study of one model, got {study!r}, whose cost is not counted; run it "
                "with --preset small or --limit 10 and read the seconds of its cells by "
                "`lens-personas runs show`: the time grows with the statements"
            )
        from analyses._cost_table import show_plan

        show_plan(
            study_flags(known_study(study))
            | {"dtype": dtype, "requests": requests, "personas": personas},
            model_config,
            preset=study_preset(study, preset),
            file=config,
            assignments=assign or (),
            device=device,
            tokenizer=tokenizer,
            devices=devices,
            workers=workers,
            as_json=as_json,
        )
