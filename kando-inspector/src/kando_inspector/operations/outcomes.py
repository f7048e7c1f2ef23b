"""Operations about what runs have made and used: artifacts, metrics, comparisons, exports; and kits."""

from __future__ import annotations

from tempfile import TemporaryFile
from typing import Any

import attrs

from kando.app.artifacts import artifact_named, artifacts_in
from kando.app.kits.card import kit_card
from kando.app.shapes import metrics_dict
from kando_inspector.paging import page_of
from kando_inspector.parameters import AT, CURSOR, RUN, limit
from kando_inspector.table import Call, Content, Operation, Parameter

__all__ = ["OPERATIONS"]

#: The media type of each format of an artifact.
_ARTIFACT_TYPES = {"md": "text/markdown", "html": "text/html", "pdf": "application/pdf"}

#: The media type and the extension of each format of an export.
_EXPORTS = {
    "jsonl": ("application/jsonl", "jsonl"),
    "cloudevents": ("application/cloudevents+jsonl", "cloudevents.jsonl"),
    "dot": ("text/vnd.graphviz", "dot"),
    "mermaid": ("text/vnd.mermaid", "mmd"),
    "svg": ("image/svg+xml", "svg"),
    "html": ("text/html", "html"),
}


def _artifacts(call: Call) -> dict[str, Any]:
    service, given = call.service, call.arguments
    with service.worlds.borrow(service.store, given["run"], given.get("at")) as (world, _, _):
        items = [attrs.asdict(each) for each in artifacts_in(world)]
    return page_of(items, call.arguments.get("limit", 100), call.arguments.get("cursor"))


def _artifact(call: Call) -> dict[str, Any] | Content:
    service, given = call.service, call.arguments
    with service.worlds.borrow(service.store, given["run"], given.get("at")) as (world, run_id, _):
        found = artifact_named(world, given["artifact"], run=run_id)
    form = call.arguments.get("format")
    if form is None:
        return attrs.asdict(found)
    name = found.name if form == "md" else f"{found.name.rpartition('.')[0] or found.name}.{form}"
    return Content(found.rendered(form), _ARTIFACT_TYPES[form], name)


def _metrics(call: Call) -> dict[str, Any]:
    run, at = call.folded_run_at()
    return metrics_dict(run.id, run.metrics(at=at))


def _export(call: Call) -> Content:
    run, at = call.run_at()
    form = call.arguments.get("format", "jsonl")
    media_type, extension = _EXPORTS[form]
    file = TemporaryFile()  # noqa: SIM115 - the response closes it
    try:
        run.export(file, format=form, at=at)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Content(file, media_type, f"{run.id}.{extension}")


def _compare(call: Call) -> dict[str, Any]:
    names = call.arguments["run"]
    items = [attrs.asdict(each) for each in call.service.store.compare(names)]
    return page_of(items, len(items), None)


def _kits(call: Call) -> dict[str, Any]:
    items = [
        {
            "name": each.spec.name,
            "distribution": each.distribution,
            "version": each.version,
            "about": each.spec.summary,
        }
        for each in call.service.store.context.plugins.kits()
    ]
    return page_of(items, call.arguments.get("limit", 100), call.arguments.get("cursor"))


def _kit(call: Call) -> dict[str, Any]:
    return kit_card(call.service.store.context.kit(call.arguments["kit"]))


_MANY = (404, 409)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "list_artifacts",
        "GET",
        "/runs/{run}/artifacts",
        "List the texts that a run has written for its reader.",
        _artifacts,
        "ArtifactPage",
        (RUN, limit(1000, 100), CURSOR, AT),
        errors=_MANY,
        is_of_ledger=True,
    ),
    Operation(
        "get_artifact",
        "GET",
        "/runs/{run}/artifacts/{artifact}",
        "Return one artifact; with a format, as a file.",
        _artifact,
        "Artifact",
        (
            RUN,
            Parameter("artifact", "Name of the artifact, or id of its object.", is_in_path=True),
            Parameter(
                "format",
                "The file as it is, or rendered without markup of its own.",
                {"type": "string", "enum": [*_ARTIFACT_TYPES]},
            ),
            AT,
        ),
        errors=_MANY,
        media_types=tuple(_ARTIFACT_TYPES.values()),
    ),
    Operation(
        "get_metrics",
        "GET",
        "/runs/{run}/metrics",
        "Return what a run has done and used, by event type, model and responder.",
        _metrics,
        "Metrics",
        (RUN, AT),
        errors=_MANY,
        is_of_ledger=True,
    ),
    Operation(
        "export_run",
        "GET",
        "/runs/{run}/export",
        "Return a run as a file.",
        _export,
        None,
        (
            RUN,
            Parameter(
                "format",
                "Of the file; `kando import` reads jsonl.",
                {"type": "string", "enum": [*_EXPORTS], "default": "jsonl"},
            ),
            AT,
        ),
        errors=(*_MANY, 503),
        media_types=tuple(dict.fromkeys(kind for kind, _ in _EXPORTS.values())),
    ),
    Operation(
        "compare_runs",
        "GET",
        "/compare",
        "Compare the outcomes of several runs.",
        _compare,
        "OutcomePage",
        (
            Parameter(
                "run",
                "A run or branch; repeated for each one.",
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 50},
                is_required=True,
            ),
        ),
        errors=_MANY,
    ),
    Operation(
        "list_kits",
        "GET",
        "/kits",
        "List the installed kits.",
        _kits,
        "KitPage",
        (limit(1000, 100), CURSOR),
    ),
    Operation(
        "get_kit",
        "GET",
        "/kits/{kit}",
        "Return everything that a kit declares.",
        _kit,
        "KitCard",
        (Parameter("kit", "Name of the kit.", is_in_path=True),),
        errors=(404, 503),
    ),
)
