"""Commands on personas: new, copy, check, show, make; heavy imports wait until one runs."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analyses._cli_errors import user_errors

personas_app = typer.Typer(
    help="Write, check and show personas; or have a model write some.", no_args_is_help=True
)


class PersonaGroup(StrEnum):
    """Sides of a persona."""

    PRO = "pro"
    ANTI = "anti"
    CONTROL = "control"
    OTHER = "other"


class JsonBy(StrEnum):
    """How a server is told that JSON is wanted."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    TEXT = "text"


Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="A file, or a shipped set: personas, demographics, refusal, filler."
    ),
]
NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="The new file; ends in .yaml.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Licence = Annotated[
    str | None, typer.Option(help="Licence under which you share the sentences: CC0-1.0, ...")
]
Side = Annotated[PersonaGroup, typer.Option(help="Side that the persona is expected to take.")]


@personas_app.command()
def new(
    file: NewFile,
    name: Annotated[str | None, typer.Option(help="Name of the persona.")] = None,
    group: Side = PersonaGroup.OTHER,
    opposite: Annotated[str | None, typer.Option(help="Name of the trait's other end.")] = None,
    axis: Annotated[
        str | None, typer.Option(help="Instead of a name: axis of socio-demographic groups.")
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="The groups of the axis: adjectives, with commas between.")
    ] = None,
    licence: Licence = None,
    force: Force = False,
) -> None:
    """Write a commented YAML file to fill by hand; or groups of an axis, from one template."""
    with user_errors():
        from analyses._persona_files import write_new
        from analyses._persona_template import blank_text, groups_text

        if (name is None) == (axis is None) or (axis is None) != (groups is None):
            raise ValueError("expected --name NAME, or --axis AXIS with --groups A,B,C")
        if axis is not None and groups is not None:
            text = groups_text(axis, groups.split(","), licence=licence)
        else:
            text = blank_text(name or "", group=group.value, opposite=opposite, licence=licence)
        write_new(file, text, force=force)
        typer.echo(str(file))


@personas_app.command()
def copy(
    name: Annotated[str, typer.Argument(help="personas, demographics, refusal or filler.")],
    file: NewFile,
    force: Force = False,
) -> None:
    """Copy a shipped set to a file: to be studied, or changed."""
    with user_errors():
        from analyses._persona_files import SHIPPED, shipped_name, write_new
        from lens_personas.personas import shipped_text

        known = shipped_name(name)
        if known is None:
            raise ValueError(f"unknown shipped set {name!r}; there is {', '.join(SHIPPED)}")
        write_new(file, shipped_text(known), force=force)
        typer.echo(str(file))


@personas_app.command()
def check(
    source: Source,
    requests: Annotated[
        Path | None, typer.Option(help="Requests whose words the statements should not share.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json or its folder, to count tokens, not words.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for what makes numbers wrong (exit code 1) and for what may be a confound."""
    with user_errors():
        from analyses._persona_files import personas_of, token_counter, topics_of
        from analyses._persona_show import findings_view, n_errors, set_json
        from lens_personas.personas import check_personas

        found = personas_of(source)
        findings = check_personas(
            found.personas, topics=topics_of(requests), count=token_counter(tokenizer)
        )
        if as_json:
            typer.echo(set_json(found, findings))
        else:
            _print(findings_view(findings))
    if n_errors(findings):
        raise typer.Exit(1)


@personas_app.command()
def show(
    source: Source,
    name: Annotated[str | None, typer.Option(help="Show this persona's sentences.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a set is, and a row for each persona; or one persona's sentences."""
    with user_errors():
        from dataclasses import asdict

        from analyses._persona_files import persona_named, personas_of
        from analyses._persona_show import persona_view, set_json, set_view

        found = personas_of(source)
        if name is None and as_json:
            typer.echo(set_json(found))
        elif name is None:
            _print(set_view(found))
        elif as_json:
            typer.echo(json.dumps(asdict(persona_named(found, name)), indent=2))
        else:
            _print(persona_view(persona_named(found, name)))


@personas_app.command()
def make(
    name: Annotated[str, typer.Option(help="Name of the persona.")],
    description: Annotated[str, typer.Option(help="What the user is like, in a sentence or two.")],
    base_url: Annotated[str, typer.Option(help="The server, such as http://localhost:8000/v1.")],
    model: Annotated[str, typer.Option(help="Name of the model on that server.")],
    out: Annotated[Path, typer.Option(help="The new file; ends in .yaml.")],
    n: Annotated[int, typer.Option(min=1, max=500, help="Statements of each persona.")] = 24,
    group: Side = PersonaGroup.OTHER,
    opposite: Annotated[str | None, typer.Option(help="Name of the trait's other end.")] = None,
    opposite_description: Annotated[
        str | None, typer.Option(help="What a user at the other end is like; needs --opposite.")
    ] = None,
    licence: Licence = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Sent to the server, one more a call.")] = 0,
    attempts: Annotated[int, typer.Option(min=1, max=50, help="Calls for 30 statements.")] = 4,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a reply.")] = 120.0,
    reply_format: Annotated[
        JsonBy, typer.Option(help="How JSON is asked for; it is checked in any case.")
    ] = JsonBy.SCHEMA,
    key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable of the key; default OPENAI_API_KEY, if any."),
    ] = None,
    force: Force = False,
) -> None:
    """Have a model behind an OpenAI-compatible server write personas; whole or not at all."""
    with user_errors():
        from analyses._persona_endpoint import Endpoint
        from analyses._persona_files import refuse_existing, write_new
        from analyses._persona_recipe import made_text, make_personas
        from analyses._persona_reply import both_ends
        from analyses._persona_show import findings_view, plain
        from lens_personas.personas import check_personas

        refuse_existing(out, force=force)
        made = make_personas(
            both_ends(
                name,
                description,
                group=group.value,
                opposite=opposite,
                opposite_description=opposite_description,
            ),
            Endpoint(
                base_url=base_url,
                model=model,
                temperature=temperature,
                reply_format=reply_format.value,
                key_env=key_env,
                timeout=timeout,
            ),
            n=n,
            attempts=attempts,
            seed=seed,
            licence=licence,
            tell=lambda line: typer.echo(plain(line), err=True),
        )
        write_new(out, made_text(made), force=force)
        _print(findings_view(check_personas(made.personas)))
        typer.echo(f"{out}  ({len(made.refused)} replies or items were refused)")


def _print(view: object) -> None:
    from rich.console import Console

    Console().print(view)
