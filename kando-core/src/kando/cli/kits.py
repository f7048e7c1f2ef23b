"""`kando kits`: the installed kits, the parts of one, and the graph of its responders."""

from __future__ import annotations

from typing import Any

import click

from kando.app.store import Store
from kando.cli.arguments import KIT_NAME
from kando.cli.output import clean, columns, print_json, print_line, print_list, warn
from kando.cli.shared import command_for, open_command_store, shared_options
from kando.kit import Kit

__all__ = ["kits"]

_SHOW, _GRAPH = "show", "graph"


@click.command()
@click.argument("action", required=False, type=click.Choice([_SHOW, _GRAPH]))
@click.argument("kit", type=KIT_NAME, required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot", "mermaid", "svg"]),
    default="text",
    show_default=True,
    help="Format of the graph.",
)
@shared_options
def kits(action: str | None, kit: str | None, form: str, as_json: bool) -> None:
    """List kits, describe one, or draw its graph.

    `kando kits show KIT` lists the parts of a kit. `kando kits graph KIT` shows which responder can
    trigger which.
    """
    if action is not None and kit is None:
        msg = f"The name of the kit is missing. `{command_for('kits')}` lists the kits."
        raise click.UsageError(msg)
    with open_command_store() as store:
        if action is None or kit is None:
            _list(store, as_json)
        elif action == _SHOW:
            _show(store.context.kit(kit), as_json)
        else:
            _draw(store.context.kit(kit), form, as_json)


def _list(store: Store, as_json: bool) -> None:
    head = ("name", "distribution", "version", "about")
    rows = [
        dict(zip(head, (o.spec.name, o.distribution, o.version, o.spec.summary), strict=True))
        for o in store.context.plugins.kits()
    ]
    if as_json:
        print_list(rows)
        return
    table = [[clean(row[name]) for name in head] for row in rows]
    columns(table, [name.upper() for name in head])


def _show(kit: Kit, as_json: bool) -> None:
    from kando.app.kits.card import kit_card

    card = kit_card(kit)
    if as_json:
        print_json(card)
        return
    print_line(clean(f"{card['name']} {card['version']}  {card['distribution']}"))
    _section("settings", [[_field(each)] for each in card["settings"]])
    _section("object types", [[each["name"], _fields(each)] for each in card["object_types"]])
    _section(
        "relation types",
        [
            [each["name"], f"{each['source'] or 'any'} -> {each['target'] or 'any'}"]
            for each in card["relation_types"]
        ],
    )
    _section("responders", [[each["name"], _pattern(each)] for each in card["responders"]])
    _section("edge logic", [[each["name"], each["relation_type"]] for each in card["edge_logic"]])
    _section("tools", [[each["name"], each["about"]] for each in card["tools"]])
    _section("policies", [[each["name"], _scope(each)] for each in card["policies"]])
    _section("prompts", [[each["name"], each["sha256"][:16]] for each in card["prompts"]])


def _section(title: str, rows: list[list[str]]) -> None:
    if rows:
        print_line()
        print_line(title)
        columns([["  " + clean(row[0]), *map(clean, row[1:])] for row in rows])


def _fields(object_type: dict[str, Any]) -> str:
    return ", ".join(map(_field, object_type["fields"]))


def _field(field: dict[str, Any]) -> str:
    return f"{field['name']}{'' if field['is_required'] else '?'}: {field['type']}"


def _scope(policy: dict[str, Any]) -> str:
    types = ", ".join(policy["judges"])
    return f"{types} of {policy['object_type']}" if policy["object_type"] else types


def _pattern(responder: dict[str, Any]) -> str:
    types = ", ".join(responder["reacts_to"]) or "every event"
    return f"{types} of {responder['object_type']}" if responder["object_type"] else types


def _draw(kit: Kit, form: str, as_json: bool) -> None:
    import attrs

    from kando.app.kits.graph import kit_graph
    from kando.app.kits.graph_formats import FORMATS

    graph = kit_graph(kit)
    if as_json:
        edges = [attrs.asdict(edge) for edge in graph.edges]
        nodes = [{"name": node.name, "known": node.known} for node in graph.nodes]
        print_json({"kit": kit.name, "nodes": nodes, "edges": edges, "warnings": graph.warnings})
        return
    for line in FORMATS[form](graph).splitlines():
        print_line(clean(line))
    if form != "text":
        for warning in graph.warnings:
            warn(f"warning: {warning}")
