"""Rows with marks and thoughts, learnt or left out, have the loss and gradients of a padded batch masked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_trainer.data.dataset import load_dataset
from lora_trainer.data.encode import encode
from lora_trainer.engine.batching import micro_batches, negative_log_likelihood
from lora_trainer.engine.prefix_tree import tree_batches
from lora_trainer.engine.tree_trial import tree_negative_log_likelihood
from lora_trainer.models.load import chat_format_of, load_tokenizer
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import trainable_model
from tests.support.chat_templates import REAL
from tests.support.tiny import make_tiny

SYSTEM = "你是林栀，说话轻软。"
TALKS = (
    (("在吗？", "（点头）在的。", False), ("今天下雨了", "雨、雨声很好听。", True), ("再见", "再见呀。", False)),
    (("在吗？", "（点头）在的。", True), ("Hello", "Hi there, how are you today?", False), ("a", "b", True)),
    (("在吗？", "（抬头）嗯？", True),),
)
"""Question, answer, and whether it is learnt."""


def rows() -> list[dict[str, Any]]:
    """The talks as a file has them: marks in both ways, thoughts in both."""
    marks: list[dict[str, Any]] = [{"weight": 0}, {"train": False}]
    found = []
    for talk in TALKS:
        messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}]
        for number, (question, answer, learnt) in enumerate(talk):
            said = {"role": "assistant", "content": f"<think>\n{question}?\n</think>\n\n{answer}" if learnt else answer}
            said |= {"reasoning_content": "hm"} if number else {}
            messages += [{"role": "user", "content": question}, said | ({} if learnt else marks[number % 2])]
        found.append({"messages": messages})
    return found


def by_hand(model: Any, tokenizer: Any, chat_format: Any) -> Any:
    """The loss of every answer with all before it, in one padded batch, answers that aren't learnt masked."""
    texts, labels = [], []
    for talk in TALKS:
        history = [{"role": "system", "content": SYSTEM}]
        for number, (question, answer, learnt) in enumerate(talk):
            history.append({"role": "user", "content": question})
            thought = "\n\n".join(["hm"] * bool(number) + [f"{question}?"] * learnt)
            prompt, own = (
                tokenizer(text, add_special_tokens=False).input_ids
                for text in (
                    chat_format.render(history),
                    chat_format.completion(answer, thought) + chat_format.end_of_turn,
                )
            )
            # gemma's tokenizer puts a token before every prompt
            prompt = [tokenizer.bos_token_id] * chat_format.tokenizer_adds_bos + prompt
            texts.append(prompt + own)
            labels.append([-100] * len(prompt) + (own if learnt else [-100] * len(own)))
            history.append({"role": "assistant", "content": answer})
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    wanted = torch.tensor([label + [-100] * (longest - len(label)) for label in labels])
    logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), wanted[:, 1:].flatten(), ignore_index=-100, reduction="sum"
    )


@pytest.mark.parametrize(("family", "template"), [("qwen2", None), ("gemma3", None), ("qwen2", "Qwen-Qwen3-0.6B")])
def test_loss_and_gradients_are_those_masked_by_hand_in_padding_and_in_trees(
    tmp_path: Path, family: str, template: str | None
) -> None:
    torch.set_num_threads(1)
    base = resolve_base_model(str(make_tiny(tmp_path / "base", family)))
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = REAL[template] if template else tokenizer.chat_template
    chat_format = chat_format_of(base, tokenizer, thoughts=template is not None)
    model = trainable_model(base, TrainPlan(), "cpu", "float32").eval()
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def gradient(loss: Any) -> Any:
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])

    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows())))
    data = load_dataset(tmp_path, thoughts=template is not None)
    encoded, faults = encode(data.train, chat_format, tokenizer, 1000)
    assert not faults and not data.faults
    sequences = [sequence for dialogue in encoded for sequence in dialogue.sequences]
    assert len(sequences) == sum(learnt for talk in TALKS for *_, learnt in talk)
    trees = tree_batches(sequences, 1 << 20)
    assert sum(tree.tokens for tree in trees) < sum(map(len, sequences)), "they begin alike"
    expected = by_hand(model, tokenizer, chat_format)
    wanted = gradient(expected)
    for batches, loss_of in (
        (micro_batches(sequences, 1 << 20, 0), negative_log_likelihood),
        (micro_batches(sequences, 40, 0), negative_log_likelihood),
        (trees, tree_negative_log_likelihood),
        (tree_batches(sequences, 40), tree_negative_log_likelihood),
    ):
        loss: Any = sum(loss_of(model, batch) for batch in batches)
        # float32, summed up in another order
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert (gradient(loss) - wanted).norm() <= 2e-5 * wanted.norm()
