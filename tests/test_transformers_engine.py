"""Local chat models: tiny ones that the tests build on disk."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from chatting import TEXTS, question

from clipworks.chat.params import Sampling
from clipworks.chat.transformers_engine import TransformersEngine
from clipworks.kit.errors import InputError

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module", params=["llama", "glm"])
def folder(request, tmp_path_factory) -> Path:
    """A tiny random chat model with its tokenizer and chat template, on disk."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        GlmConfig,
        GlmForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    out = tmp_path_factory.mktemp(request.param)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(
        ["a dog sits next to a bus", "True or False", "is this a good description"] * 20, trainer
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(out)
    torch.manual_seed(0)
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    if request.param == "llama":
        model = LlamaForCausalLM(LlamaConfig(**size))
    else:
        model = GlmForCausalLM(GlmConfig(**size, head_dim=16))
    for parameter in model.parameters():  # far enough from zero that answers differ
        parameter.data *= 8
    model.save_pretrained(out)
    return out


def engine(folder: Path, **changes: object) -> TransformersEngine:
    options = {
        "model": str(folder),
        "revision": "main",
        "dtype": "float32",
        "batch_size": 4,
        "verdict": "logits",
    }
    return TransformersEngine(**{**options, **changes})


def test_batched_greedy_replies_equal_single_ones(folder) -> None:
    batched = dict(engine(folder).answer([question(text) for text in TEXTS]))
    alone = engine(folder, batch_size=1)
    for index, text in enumerate(TEXTS):
        assert batched[index] == dict(alone.answer([question(text)]))[0]
    assert len({reply.text for reply in batched.values()}) > 1
    assert all(reply.finish in ("stop", "length") for reply in batched.values())


def test_true_false_probabilities_equal_a_plain_forward(folder) -> None:
    chosen = engine(folder)
    replies = dict(chosen.answer([question(text, "judge") for text in TEXTS]))
    tokenizer, model = chosen._tokenizer, chosen._model
    pair = [tokenizer.encode(word, add_special_tokens=False)[0] for word in ("True", "False")]
    for index, text in enumerate(TEXTS):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        with torch.inference_mode():
            expected = model(**ids).logits[0, -1, pair].softmax(0)[0].item()
        assert replies[index].probability == pytest.approx(expected, abs=1e-5)
        assert replies[index].text == ("True" if expected >= 0.5 else "False")


def test_the_free_text_rule_stays_an_option(folder) -> None:
    replies = dict(engine(folder, verdict="text").answer([question("True?", "judge")]))
    assert replies[0].probability is None


def test_sampled_replies_repeat_with_their_seed_and_differ_with_another(folder) -> None:
    warm = Sampling(temperature=1.5, top_p=0.95, max_tokens=12)
    chosen = engine(folder)
    ask = lambda seed: dict(chosen.answer([question("a dog", sampling=warm, seed=seed)]))[0].text  # noqa: E731
    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(6)}) > 1


def test_a_model_without_chat_template_or_on_no_disk_is_refused(folder, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"the folder .*none does not exist"):
        engine(tmp_path / "none")
    with pytest.raises(ValueError, match=r"cannot be loaded.*natively"):
        engine(Path("no-such/model"))
    plain = tmp_path / "plain"
    shutil.copytree(folder, plain)
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((plain / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="has no chat template"):
        engine(plain)


def test_code_that_comes_with_a_model_is_refused_and_nobody_is_asked(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asks a question"))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    code = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilModel"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": code}))
    with pytest.raises(InputError, match="cannot be loaded"):
        engine(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("broken", ["short", "empty", "pointer", "other"])
def test_weights_that_are_not_whole_are_refused_by_name(folder, tmp_path, broken: str) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    weights, config = own / "model.safetensors", own / "config.json"
    if broken == "other":
        config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_size": 32}))
    else:
        whole = weights.read_bytes()
        pointer = b"version https://git-lfs.github.com/spec/v1\nsize 9\n"
        weights.write_bytes({"short": whole[:-50], "empty": b"", "pointer": pointer}[broken])
    with pytest.raises(InputError, match=r"chat\.transformers\.model: '.*own' cannot be loaded: "):
        engine(own)
