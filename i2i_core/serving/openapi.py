"""Describe the HTTP API as OpenAPI 3.1, with each model's own fields: what /openapi.json holds and /docs shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from i2i_core.config.serving import LimitOptions

STATUSES = {
    400: "no whole form, or a number that is none",
    401: "no token, or another one",
    403: "a page of another site, or another host's name",
    404: "no such model or page",
    408: "the upload took too long",
    413: "too many bytes or pixels",
    415: "a body or a file of a kind that is not taken",
    422: "a field that the model cannot take",
    429: "too many requests; `Retry-After` says when to come again",
    500: "a fault of the server",
    503: "the model is not there at the moment; `Retry-After` says when to come again",
    504: "the image took too long",
}
ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("field", "found", "expected", "fix")},
            "required": ["field", "found", "expected", "fix"],
        }
    },
}


def path_of(about: Mapping[str, Any]) -> str:
    """Give the path that makes a model's images."""
    return f"/models/{quote(about['name'], safe='')}/{'translate' if about['inputs']['AtoB'] else 'generate'}"


def document(models: Sequence[Mapping[str, Any]], limits: LimitOptions, token: bool) -> dict[str, Any]:
    """Write the description.

    Args:
        models: as `Served.about` describes them.
        token: true if requests need one.
    """
    refusals = {
        str(status): {"description": text, "content": {"application/json": {"schema": ERROR}}}
        for status, text in STATUSES.items()
    }
    paths: dict[str, Any] = {
        "/health": {"get": {"summary": "Tell whether every model answers; no token.", "responses": _json("ready")}},
        "/models": {"get": {"summary": "List the models and their fields.", "responses": _json("the models")}},
        "/metrics": {"get": {"summary": "Give the counters to Prometheus.", "responses": _text()}},
    }
    for about in models:
        paths[path_of(about)] = {"post": _of_model(about, refusals)}
    about_limits = (
        f"Bodies have at most {limits.most_mib} MiB, images {limits.most_pixels:,} pixels; a request may take "
        f"{limits.most_seconds:g} s, and {limits.most_waiting} may wait."
    )
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "i2i", "version": "1", "description": f"Images through trained networks. {about_limits}"},
        "paths": paths,
    }
    if token:
        found["components"] = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
        found["security"] = [{"token": []}]
    return found


def _of_model(about: Mapping[str, Any], refusals: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if about["inputs"]["AtoB"]:
        kind = about["inputs"]["AtoB"]["kind"]
        what = "a label map: ids as grey values, or the colours of /models" if kind == "classes" else "the image"
        properties["image"] = {"type": "string", "format": "binary", "description": what}
    properties |= {control["name"]: _field(control) for control in about["controls"]}
    required = [name for name in ("image",) if name in properties]
    required += [control["name"] for control in about["controls"] if control["required"]]
    form = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    body: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    summary = f"Make an image with {about['name']} ({about['method']}, {about['images']:,} images)."
    made = {"description": "the image", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
    operation = {"summary": summary, "requestBody": {"content": body}, "responses": {"200": made, **refusals}}
    if "image" in properties:
        body["image/*"] = {"schema": {"type": "string", "format": "binary"}}
        operation["description"] = "An image alone may be the whole body; its fields then are a query."
    return operation


def _field(control: Mapping[str, Any]) -> dict[str, Any]:
    match control["kind"]:
        case "labels":
            names = "; or ".join(", ".join(one["names"]) for one in control["sets"])
            return {"type": "string", "description": f"labels of the output, with commas between: {names}"}
        case "images":
            one = {"type": "string", "format": "binary"}
            text = "images that the output is to be like"
            return {"type": "array", "items": one, "maxItems": control["most"], "description": text}
        case "numbers":
            return {"type": "string", "description": f"the code: {control['count']} numbers with commas between"}
        case "number":
            what = {
                "sample": "number of the drawn code or noise",
                "longer_side": "pixels to which the image is brought",
            }
            bounds = {"minimum": control["least"], "maximum": control["most"]}
            return {"type": "integer", **bounds, "description": what[control["name"]]}
    return {"type": "string", "enum": [*control["choices"]]}


def _json(what: str) -> dict[str, Any]:
    return {"200": {"description": what, "content": {"application/json": {}}}}


def _text() -> dict[str, Any]:
    return {"200": {"description": "the counters", "content": {"text/plain": {}}}}
