"""Real chat engines: tiny models on disk, and a server that misbehaves."""

import http.server
import json
import threading
import time
from pathlib import Path

import pytest
import torch

from clipworks.chat.journal import Journal
from clipworks.chat.openai_engine import OpenAIEngine
from clipworks.chat.request import Request, Sampling
from clipworks.chat.transformers_engine import TransformersEngine

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=12)


def question(
    text: str, task: str = "caption", sampling: Sampling = GREEDY, seed: int = 0
) -> Request:
    return Request(task, "t", "h", (("user", text),), sampling, seed)


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


TEXTS = [
    "a dog",
    "is this a good description of a bus next to a dog that sits?",
    "True",
    "a bus sits next to",
    "or",
    "dog dog dog",
]


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
    import shutil

    plain = tmp_path / "plain"
    shutil.copytree(folder, plain)
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((plain / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="has no chat template"):
        engine(plain)


class Server:
    """A real HTTP server that can be told to misbehave before it answers."""

    def __init__(self) -> None:
        self.plan: list[str] = []  # one misbehaviour per request, then none
        self.bodies: list[dict] = []
        self.keys: list[str] = []
        self.open = self.most_open = 0
        self.delay = 0.0
        lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.bodies.append(body)
                    outer.keys.append(self.headers["Authorization"])
                    trouble = outer.plan.pop(0) if outer.plan else ""
                    outer.open += 1
                    outer.most_open = max(outer.most_open, outer.open)
                time.sleep(outer.delay)
                with lock:
                    outer.open -= 1
                if trouble == "slow":
                    time.sleep(1.0)
                if trouble == "cut":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                    self.wfile.flush()
                    self.connection.close()
                    return
                text = body["messages"][-1]["content"].upper()
                answer = json.dumps(
                    {
                        "id": "1",
                        "object": "chat.completion",
                        "created": 1,
                        "model": body["model"],
                        "choices": [
                            {
                                "index": 0,
                                "finish_reason": "stop",
                                "message": {"role": "assistant", "content": text},
                            }
                        ],
                    }
                )
                status = int(trouble) if trouble.isdigit() else 200
                if status != 200:
                    answer = json.dumps({"error": {"message": f"status {status}"}})
                if trouble == "broken":
                    answer = answer[:40]
                if trouble == "empty":
                    answer = json.dumps({"id": "1", "choices": []})
                data = answer.encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: object) -> None: ...

        self.http = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server():
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def client(server: Server, **changes: object) -> OpenAIEngine:
    options = {
        "base_url": server.url,
        "model": "m",
        "concurrency": 4,
        "timeout": 0.5,
        "retries": 3,
        "structured": "none",
        "key_variable": "CLIPWORKS_TEST_KEY",
        "no_thinking": False,
    }
    return OpenAIEngine(**{**options, **changes})


@pytest.mark.parametrize("trouble", ["", "slow", "429", "500", "503", "cut", "broken", "empty"])
def test_every_request_is_answered_in_spite_of_trouble(server, trouble: str) -> None:
    server.plan = [trouble, ""] * 2
    replies = dict(client(server).answer([question(text) for text in TEXTS]))
    assert [replies[i].text for i in range(len(TEXTS))] == [text.upper() for text in TEXTS]


def test_a_server_that_stays_broken_gives_an_error_and_the_rest_is_kept(server, tmp_path) -> None:
    server.plan = ["", "500", "500"]
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(
            ValueError, match=r"1 of 2 requests failed \(InternalServerError at http.*status 500"
        ):
            journal.ask(
                client(server, concurrency=1, retries=1),
                [question("a"), question("b")],
                label="test",
            )
        assert len(journal) == 1
        replies = journal.ask(client(server), [question("a"), question("b")], label="test")
        assert [reply.text for reply in replies] == ["A", "B"] and journal.asked == 3


def test_a_refused_key_or_model_stops_at_once_with_the_variable(server, monkeypatch) -> None:
    monkeypatch.setenv("CLIPWORKS_TEST_KEY", "secret")
    for status in ("401", "404", "400"):
        server.plan = [status] * 20
        with pytest.raises(
            ValueError, match=rf"refuses: .*status {status}.*\$CLIPWORKS_TEST_KEY"
        ) as caught:
            list(client(server).answer([question("a")]))
        assert "secret" not in str(caught.value)
    assert set(server.keys) == {"Bearer secret"}


def test_only_so_many_requests_are_open_at_a_time(server) -> None:
    server.delay = 0.05
    list(client(server, concurrency=3).answer([question(str(i)) for i in range(12)]))
    assert server.most_open == 3


def test_structured_output_and_thinking_are_asked_for_where_the_server_has_them(server) -> None:
    list(
        client(server, structured="json_schema", concurrency=1).answer(
            [question("a"), question("b", "judge")]
        )
    )
    formats = [
        body["response_format"]["json_schema"]["schema"]["required"] for body in server.bodies
    ]
    assert formats == [["sentences"], ["answer"]]
    server.bodies.clear()
    list(client(server, structured="choice", no_thinking=True).answer([question("b", "judge")]))
    assert server.bodies[0]["structured_outputs"] == {"choice": ["True", "False"]}
    assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
    server.bodies.clear()
    list(client(server).answer([question("b", "judge", seed=7)]))
    assert server.bodies[0]["seed"] == 7 and "response_format" not in server.bodies[0]
