"""Names that Ollama accepts for a model, as in its types/model/name.go, and a legal proposal for others."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from lora_trainer.errors import UsageError

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
# Staging and backup tags are made of the tag, and Ollama's limit of 80 holds for them too.
_LONGEST_TAG = 50
_OURS = re.compile(r"(.*-)?(staging-([0-9]+|[0-9a-f]{8})|backup-[0-9]{8}-[0-9]+)", re.IGNORECASE)
"""Tags that are made beside a name when it is published."""
REHEARSAL = "train-to-ollama-rehearsal"
"""The tiny model that is published, and deleted, before the training."""
_CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff]+")
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])([.@+]|$)")


@dataclass(frozen=True)
class ModelName:
    """The parts of `[host/][namespace/]model[:tag]`, defaults filled in."""

    host: str
    namespace: str
    model: str
    tag: str

    def __str__(self) -> str:
        """The shortest form that means the same: defaults and the tag `latest` are left out."""
        path = self.model
        if self.host != "registry.ollama.ai":
            path = f"{self.host}/{self.namespace}/{self.model}"
        elif self.namespace != "library":
            path = f"{self.namespace}/{self.model}"
        return path if self.tag == "latest" else f"{path}:{self.tag}"

    def with_tag(self, suffix: str) -> str:
        """A name beside this one: `m:suffix`, or `m:tag-suffix` where this name has a tag of its own."""
        tag = suffix if self.tag == "latest" else f"{self.tag}-{suffix}"
        return str(ModelName(self.host, self.namespace, self.model, tag))


def parse_name(name: str) -> ModelName | None:
    """Take a name apart; None where Ollama would call it an invalid model name."""
    path, tag = name, "latest"
    if name.rfind(":") > name.rfind("/"):
        path, _, tag = name.rpartition(":")
    host, namespace, model = "registry.ollama.ai", "library", path
    if "/" in path:
        namespace, _, model = path.rpartition("/")
        if "/" in namespace:
            host, _, namespace = namespace.rpartition("/")
            host = host.partition("://")[2] or host
    legal = (
        _HOST.fullmatch(host) and _NAMESPACE.fullmatch(namespace) and _PART.fullmatch(model) and _PART.fullmatch(tag)
    )
    return ModelName(host, namespace, model, tag) if legal else None


def check_name(name: str) -> str:
    """The name in its canonical form (no `:latest`, no default host or namespace).

    Raises UsageError with `values["proposal"]`, a legal name, for one that Ollama refuses, for a tag that Ollama takes
    for a routing suffix (it would send the model's requests elsewhere), for a tag that is one of ours (it would be
    cleaned away), and for one too long to hang ours on.
    """
    parsed = parse_name(name)
    if parsed is None:
        raise UsageError("error.name.illegal", name=name, proposal=propose_name(name))
    if _is_routing(parsed.tag):
        raise UsageError("error.name.reserved_tag", name=name, tag=parsed.tag, proposal=propose_name(name))
    if _OURS.fullmatch(parsed.tag):
        raise UsageError("error.name.our_tag", name=name, tag=parsed.tag, proposal=propose_name(parsed.model))
    if len(parsed.tag) > _LONGEST_TAG:
        raise UsageError("error.name.long_tag", name=name, limit=_LONGEST_TAG, proposal=propose_name(name))
    return str(parsed)


def propose_name(name: str, taken: Collection[str] = ()) -> str:
    """A legal name made of the ASCII letters and digits of `name`, Chinese characters as their pinyin; `my-model` where
    none are left. Where it is one of those `taken`, it gets a number.
    """
    spelt = _in_pinyin(unicodedata.normalize("NFKC", name).replace("\\", "/"))
    path, _, tag = spelt.rpartition("/")[2].partition(":")
    model, tag = _legal_part(path), _legal_part(tag)
    if _is_routing(tag):
        tag = ""
    model = model or "my-model"
    proposal = f"{model}:{tag}" if tag and tag != "latest" else model
    number = 2
    while any(same_name(proposal, other) for other in taken):
        proposal, number = f"{model}-{number}", number + 1
    return proposal


def _in_pinyin(text: str) -> str:
    """Every run of Chinese characters as one word of pinyin; as it is where the package for that is missing."""
    if not _CHINESE.search(text):
        return text
    try:
        from pypinyin import lazy_pinyin
    except ImportError:
        return text
    return _CHINESE.sub(lambda found: "".join(lazy_pinyin(found[0], errors="ignore")), text)


def folder_name(name: str) -> str:
    """The name of the folder that keeps this model's runs: one per model, on every file system.

    Lower case, as Ollama doesn't tell names by case; `/` and `:` become `+` and `@`, which no name contains. Raises
    UsageError as `check_name` does.
    """
    folder = check_name(name).lower().replace("/", "+").replace(":", "@")
    # Windows drops a dot at the end and reserves its device names.
    return folder + "+" if folder.endswith(".") or _WINDOWS_DEVICES.match(folder) else folder


def name_of_folder(folder: str) -> str:
    """The model whose runs a folder keeps, in lower case."""
    return folder.removesuffix("+").replace("+", "/").replace("@", ":")


def same_name(one: str, other: str) -> bool:
    """Do both mean one model in Ollama, which fills in defaults and ignores case?"""
    return str(parse_name(one) or one).lower() == str(parse_name(other) or other).lower()


def is_ours(name: str) -> bool:
    """Whether a name is one that publishing makes beside a model's: a backup, a staging, or the rehearsal's."""
    parsed = parse_name(name)
    return parsed is not None and (_OURS.fullmatch(parsed.tag) is not None or parsed.model == REHEARSAL)


def _is_routing(tag: str) -> bool:
    return tag.lower() in ("cloud", "local") or tag.lower().endswith("-cloud")


def _legal_part(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:_LONGEST_TAG].strip("-.")
