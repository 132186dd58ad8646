"""The text model within one that takes images or sound as well: that alone is trained and published.

Which families have one that transformers runs on its own is transformers' table of causal language models; where it
has none, a plain family computes the same as long as there is only text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_OTHERS = ("vision_config", "audio_config")
TWINS = {
    # Of a text's positions in time, height and width all three are the same: the rotary embedding is the plain one's
    # (Wang et al., 2024, arXiv:2409.12191, section 2.1).
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
}
"""A text model's type -> the family that computes the same of text alone."""
_ONLY_OF_IMAGES = ("mrope_section", "mrope_interleaved")
_EMBEDDING, _OUTPUT = "embed_tokens.weight", "lm_head.weight"
_OF_OTHERS = re.compile(r"(^|\.)(vision|visual|audio)")


def is_wrapper(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a model that has a text model within, whatever else it has."""
    return isinstance(config.get("text_config"), dict) or sees_or_hears(config)


def sees_or_hears(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a model that takes more than text; what is null there isn't."""
    return any(config.get(name) for name in _OTHERS)


def text_type(config: Mapping[str, Any]) -> str | None:
    """transformers' type of the causal language model within a wrapper's config.json; None where there is none."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    given = config.get("text_config")
    own = given.get("model_type") if isinstance(given, dict) else None
    if own is None:
        try:
            own = CONFIG_MAPPING[str(config.get("model_type", ""))]().get_text_config().model_type
        except Exception:  # every family checks its own values in its own way
            return None
    own = TWINS.get(own, own)
    return own if isinstance(own, str) and own in KNOWN else None


def text_config(config: Any, names: Iterable[str]) -> Any:
    """The configuration of the causal language model within a wrapper (`config`, transformers' own).

    `names`: of the weights in its files. They say whether the output layer is the embedding: wrappers say it at two
    places, and not always the same.
    """
    from transformers import AutoConfig

    text = config.get_text_config()
    if twin := TWINS.get(text.model_type):
        values = {name: value for name, value in text.to_dict().items() if name not in ("model_type", "architectures")}
        rope = {k: v for k, v in (values.get("rope_parameters") or {}).items() if k not in _ONLY_OF_IMAGES}
        if rope.get("rope_type") == "mrope":
            rope["rope_type"] = "default"
        text = AutoConfig.for_model(twin, **{**values, "rope_parameters": rope})
    text.tie_word_embeddings = text_prefixes(names)[1] is None
    return text


def text_prefixes(names: Iterable[str]) -> tuple[str, str | None]:
    """What the names of a text model's weights, and that of its output layer, begin with among a wrapper's.

    ("model.language_model.", "") for `model.language_model.layers.0.…` and `lm_head.weight`; None without an output
    layer of its own.
    """
    own = [name for name in names if not _OF_OTHERS.search(name)]
    embeddings = [name for name in own if name.endswith(f".{_EMBEDDING}")]
    outputs = [name for name in own if name == _OUTPUT or name.endswith(f".{_OUTPUT}")]
    inner = min(embeddings, key=len, default=f"model.{_EMBEDDING}").removesuffix(_EMBEDDING)
    return inner, min(outputs, key=len).removesuffix(_OUTPUT) if outputs else None


def is_of_text(names: Iterable[str]) -> set[str]:
    """Those of a wrapper's weights that are its text model's."""
    known = list(names)
    inner, outer = text_prefixes(known)
    own = {name for name in known if name.startswith(inner) and not _OF_OTHERS.search(name.removeprefix(inner))}
    return own if outer is None else own | {outer + _OUTPUT}


def renamed(names: Iterable[str]) -> dict[str, str]:
    """transformers' `key_mapping` that makes a wrapper's weights those of its text model."""
    inner, outer = text_prefixes(names)
    mapping = {f"^{re.escape(inner)}": "model."}
    return mapping if outer is None else mapping | {f"^{re.escape(outer)}lm_head": "lm_head"}
