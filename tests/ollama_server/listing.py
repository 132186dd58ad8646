"""GET /api/tags and /api/ps, POST /api/show."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType

from .conversion import IsLegacy, is_legacy, runner_of
from .errors import ApiError
from .go_template import GoRenderer, GoTemplateError
from .model import Model, load_model
from .names import Name
from .quantize import file_type_name
from .releases import OLDEST, Release
from .runner import Runners
from .store import Store

RUNNERS = ("llamacpp", "ggml", "mlx")


def tags(
    store: Store,
    go: GoRenderer,
    release: Release = OLDEST,
    legacy: IsLegacy = is_legacy,
    mlx: Collection[str] = (),
) -> dict[str, Any]:
    """Newest first (by second); models whose layers can't be read are left out. A row for each runner's child."""
    models = []
    for manifest in store.all():
        try:
            model = load_model(store, manifest.name, go)
            models.append(_listed(model))
            if release.tells_runners:
                models[-1]["details"]["runner"] = runner_of(model, legacy)
            if model.name.shortest in mlx:
                models.insert(-1, _mlx_child(models[-1]))
        except (FileNotFoundError, GoTemplateError, ValueError):
            continue
    return {"models": sorted(models, key=lambda found: str(found["modified_at"])[:19], reverse=True)}


def _mlx_child(row: dict[str, Any]) -> dict[str, Any]:
    """A row for the same name in Apple's format, under a digest of its own."""
    digest = hashlib.sha256(f"mlx {row['digest']}".encode()).hexdigest()
    return {**row, "digest": digest, "details": {**row["details"], "format": "safetensors", "runner": "mlx"}}


def _listed(model: Model) -> dict[str, Any]:
    details = model.details
    if model.weights:
        values, arch = model.gguf.values, model.gguf.architecture
        for name in ("context_length", "embedding_length"):
            if f"{arch}.{name}" in values:
                details[name] = values[f"{arch}.{name}"]
    return {
        "name": model.name.shortest,
        "model": model.name.shortest,
        "modified_at": _time(model.manifest.modified),
        "size": model.manifest.size,
        "digest": model.manifest.digest,
        "details": details,
        "capabilities": model.capabilities,
    }


def running(runners: Runners) -> dict[str, Any]:
    loaded = runners.loaded
    if loaded is None:
        return {"models": []}
    model = loaded.model
    one = {
        "name": model.name.shortest,
        "model": model.name.shortest,
        "size": model.weights.stat().st_size if model.weights and model.weights.exists() else 0,
        "digest": model.manifest.digest,
        "details": {**model.details, "parent_model": ""},
        "expires_at": _time(datetime.fromtimestamp(min(loaded.expires, 4e9), UTC)),
        "size_vram": 0,
        "context_length": loaded.runner.context,
    }
    return {"models": [one]}


def show(
    store: Store,
    go: GoRenderer,
    name: Name,
    *,
    verbose: bool,
    release: Release = OLDEST,
    legacy: IsLegacy = is_legacy,
    mlx: Collection[str] = (),
    runner: str = "",
) -> dict[str, Any]:
    name = store.existing_name(name)
    if not release.tells_runners:
        runner = ""
    if runner and runner not in RUNNERS:
        raise ApiError(f'unknown runner "{runner}"', 400)
    try:
        model = load_model(store, name, go)
    except FileNotFoundError:
        raise ApiError(f"model '{name.shortest}' not found", 404) from None
    gguf = model.gguf
    details = model.details
    own = runner_of(model, legacy)
    if runner not in ("", own) and not (runner == "mlx" and name.shortest in mlx):
        raise ApiError(f"no compatible manifest found for runners: {runner}", 400)
    if release.tells_runners:
        # as on Apple Silicon, where that child goes first
        details["runner"] = "mlx" if name.shortest in mlx and runner in ("", "mlx") else own
    if details["quantization_level"] in ("", "unknown"):
        details["quantization_level"] = file_type_name(gguf.file_type)
    jinja = model.jinja if not model.uses_go_template else ""
    values = {**gguf.values, "general.parameter_count": gguf.parameters}
    hidden = ("general.name", "tokenizer.chat_template")
    found = {
        "license": "\n".join(model.license),
        "modelfile": modelfile(model, has_path=details.get("runner") != "mlx"),
        "parameters": "\n".join(f"{key:<30} {go_value(one, quoted=True)}" for key, one in _parameters(model)),
        "template": jinja or model.template,
        "system": model.system,
        "details": details,
        "messages": [{"role": one["role"], "content": one["content"]} for one in model.messages],
        "model_info": {
            key: None if isinstance(value, list) and not verbose else _plain(value)
            for key, value in sorted(values.items())
            if key not in hidden
        },
        "tensors": [
            {"name": one.name, "type": GGMLQuantizationType(one.type).name, "shape": list(one.shape)}
            for one in gguf.tensors
        ],
        "capabilities": model.capabilities,
        "modified_at": _time(model.manifest.modified),
        "requires": model.config.get("requires", ""),
    }
    optional = ("license", "parameters", "template", "system", "messages", "capabilities", "requires")
    return {key: value for key, value in found.items() if value or key not in optional}


def _plain(value: Any) -> Any:
    """Go prints a float32 with the fewest digits, and a whole one without a point."""
    if not isinstance(value, float):
        return value
    short = float(str(np.float32(value)))
    return int(short) if short.is_integer() else short


def modelfile(model: Model, *, has_path: bool = True) -> str:
    lines = ['# Modelfile generated by "ollama show"', "# To build a new Modelfile based on this, replace FROM with:"]
    lines += [f"# FROM {model.name.shortest}", "", f"FROM {model.weights if has_path else model.name.shortest}"]
    lines += [f"ADAPTER {quoted(str(path))}" for path in model.adapters]
    lines.append(f"TEMPLATE {quoted(model.template)}")
    if model.system:
        lines.append(f"SYSTEM {quoted(model.system)}")
    for key in ("renderer", "parser"):
        if model.config.get(key):
            lines.append(f"{key.upper()} {quoted(model.config[key])}")
    lines += [f"PARAMETER {key} {quoted(go_value(value))}" for key, value in _parameters(model)]
    lines += [f"LICENSE {quoted(text)}" for text in model.license]
    lines += [f"MESSAGE {one['role']} {quoted(one['content'])}" for one in model.messages]
    return "\n".join(lines) + "\n"


def _parameters(model: Model) -> list[tuple[str, Any]]:
    """One row a value: a list's items stand alone."""
    rows = []
    for key, value in model.options.items():
        rows += [(key, item) for item in value] if isinstance(value, list) else [(key, value)]
    return rows


def quoted(text: str) -> str:
    """As the Modelfile writer does it, which can't say every text."""
    if "\n" not in text and not text.startswith(" ") and not text.endswith(" "):
        return text
    return f'"""{text}"""' if '"' in text else f'"{text}"'


def go_value(value: Any, *, quoted: bool = False) -> str:
    """Go's %v (%#v when quoted): JSON numbers are float64, in exponent form from seven digits on."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        number = float(value)
        digits = Decimal(repr(number)).normalize().as_tuple().digits
        exponent = math.floor(math.log10(abs(number))) if number else 0
        if not -4 <= exponent < 6:
            return f"{number:.{len(digits) - 1}e}"
        return repr(number).removesuffix(".0")
    return json.dumps(value, ensure_ascii=False) if quoted else str(value)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
