"""LoRA adapters with random values for the tests, made and merged by peft itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


def make_adapter(base: Path, folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """A PEFT adapter folder for the model in `base`, both of its factors random; all linear layers by default."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lora = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **config})
    peft_model = get_peft_model(model, lora)
    for name, parameter in peft_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    peft_model.save_pretrained(folder)
    return folder


def merge_with_peft(base: Path, adapter: Path, folder: Path) -> Any:
    """peft's own merge in float32: written to `folder` with the base's tokenizer, and given back as a model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(folder)
    for file in base.glob("token*"):
        shutil.copy(file, folder)
    return merged.eval()
