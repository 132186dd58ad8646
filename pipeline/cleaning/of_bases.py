"""Downloaded base models that no character here was trained on: in the caches of Hugging Face and ModelScope.

Other programs keep theirs there, too, so none is ever proposed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.cleaning.things import Thing, size_of
from pipeline.offers.downloaded import downloaded_folder, hub_cache, modelscope_cache
from pipeline.run.history import History

LEAVING = "train-to-ollama-deleting-"
"""How a folder's name begins that is on its way out of a cache."""


def base_things(history: History) -> Iterator[Thing]:
    """One for each language model that lies in a cache and isn't any run's base model."""
    used = _used(history)
    for repo in sorted(hub_cache().glob("models--*")):
        source = repo.name.removeprefix("models--").replace("--", "/")
        if repo.is_dir() and not repo.is_symlink() and _is_language_model(repo) and not _is_used(source, repo, used):
            yield Thing("base", source, size_of([repo]), paths=(repo,))
    for folder in sorted(modelscope_cache().glob("*/*")):
        source = f"modelscope:{folder.parent.name}/{folder.name.replace('___', '.')}"
        plain = (folder / "config.json").is_file() and not folder.is_symlink() and _speaks(folder / "config.json")
        if plain and not _is_used(source, folder, used):
            yield Thing("base", source, size_of([folder]), paths=(folder,))


def leftovers_of_caches() -> tuple[Path, ...]:
    """Base models whose removal was cut off."""
    places = (hub_cache(), *modelscope_cache().glob("*"))
    return tuple(sorted(path for place in places for path in place.glob(f"{LEAVING}*") if path.is_dir()))


def _used(history: History) -> set[str]:
    """The base models of all runs, also of those whose record can't be read, by what their adapter says."""
    used = set()
    for folder in history.folders():
        for run in history.newest_first(folder):
            record = getattr(run, "record", None)
            named = (record.get("base") or {}).get("source") if record is not None else None
            used.add(str(named or _named_by_adapter(run.folder)))
    return used - {""}


def _named_by_adapter(folder: Path) -> str:
    try:
        config = json.loads((folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
        return str(config["base_model_name_or_path"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _is_used(source: str, place: Path, used: set[str]) -> bool:
    """Whether a run names it by its id, or by where it lies."""
    real = place.resolve()
    for named in used:
        if named.lower() == source.lower():
            return True
        path = Path(named)
        if path.is_absolute() and path.resolve().is_relative_to(real):
            return True
        if named.startswith("modelscope:") and downloaded_folder(named) == place:
            return True
    return False


def _is_language_model(repo: Path) -> bool:
    configs = list(repo.glob("snapshots/*/config.json"))
    return any(map(_speaks, configs))


def _speaks(config: Path) -> bool:
    """Whether a config.json is that of a model that writes text."""
    try:
        names = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError, AttributeError):
        return False
    return any(str(name).endswith("ForCausalLM") for name in names)
