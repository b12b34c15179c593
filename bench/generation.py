"""Batched generation against one prompt at a time: tokens per second of a tiny chat model.

A random Llama-type model that the script builds on disk; the quick form writes 64 replies of 48
tokens, --full 512.
"""

import tempfile
from pathlib import Path

import torch

from bench.timing import alternate, options, report
from clipworks.chat.params import Sampling
from clipworks.chat.request import Request
from clipworks.chat.transformers_engine import TransformersEngine

TEMPLATE = "{% for m in messages %}<u>{{ m.content }}{% endfor %}<a>"


def build(folder: Path) -> None:
    """A tiny random chat model with a byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    bpe.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<end>", "<u>", "<a>"]
    bpe.train_from_iterator(
        ["a dog and a bus"],
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<end>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    # No end token: every reply has its full length, so both ways write the same tokens.
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=4,
        num_attention_heads=4, max_position_embeddings=1024, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def main() -> None:
    """Write the same greedy replies both ways."""
    full = options(__doc__ or "").full
    count, tokens, batch = (512, 48, 32) if full else (64, 48, 32)
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=tokens)
    requests = [
        Request(
            "caption", "t", "h", (("user", f"a dog and bus {i} " + "x " * (i % 7)),), sampling, 0
        )
        for i in range(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))

        def make(size: int) -> TransformersEngine:
            return TransformersEngine(
                model=folder, revision="main", dtype="float32", batch_size=size, verdict="text"
            )

        single, batched = make(1), make(batch)
        slow, fast = alternate(
            lambda: list(single.answer(requests)), lambda: list(batched.answer(requests)), 3
        )
    print(f"{count * tokens / slow:.0f} -> {count * tokens / fast:.0f} tokens per second")
    report("generation", slow, fast, replies=count, tokens=count * tokens, batch=batch)


if __name__ == "__main__":
    main()
