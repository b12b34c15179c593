"""A local chat model through transformers: native classes only, batched, left-padded.

Sampled replies of a batch depend on which requests share it, so a sampled run repeats bit for bit
only with the same batch size, library and device; the journal keeps what was said.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

import clipworks.kit.torchvision_ops  # noqa: F401  (before transformers, which imports torchvision)
from clipworks.kit.errors import InputError, brief
from clipworks.kit.files import state

from transformers import AutoModelForCausalLM, AutoTokenizer  # isort: skip
from transformers.utils import logging  # isort: skip

from clipworks.chat.request import QUESTIONS, Reply, Request

ANSWERS = ("True", "False")


class TransformersEngine:
    """Any causal chat model by name or local folder."""

    def __init__(
        self, *, model: str, revision: str, dtype: str, batch_size: int, verdict: str
    ) -> None:
        """Load model and tokenizer; on GPUs accelerate places the weights.

        Args:
            dtype: "auto" takes the checkpoint's own on a GPU and float32 on a CPU.
            verdict: "logits" answers True/False questions by comparing the logits of the two
                answers at the first answer position; "text" lets the model write.

        Raises:
            InputError: the model cannot be loaded without remote code, or has no chat template.
        """
        logging.set_verbosity_error()
        gpu = torch.cuda.is_available()
        chosen = dtype if dtype != "auto" or gpu else "float32"
        place = {"device_map": "auto"} if gpu else {}
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                model, revision=revision, padding_side="left", trust_remote_code=False
            )
            self._model: Any = AutoModelForCausalLM.from_pretrained(
                model, revision=revision, dtype=chosen, trust_remote_code=False, **place
            )
        except torch.OutOfMemoryError:
            raise InputError(
                f"chat.transformers.model: {model!r} does not fit into the GPU's memory; choose a smaller one or "
                "dtype, or a server (chat.engine openai)"
            ) from None
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            if model.startswith((".", "/", "~")) and not Path(model).is_dir():
                raise InputError(
                    f"chat.transformers.model: the folder {model} does not exist"
                ) from None
            raise InputError(
                f"chat.transformers.model: {model!r} cannot be loaded: {brief(error)} (allowed: a local folder or a hub "
                "name whose architecture transformers has natively, with whole weights)"
            ) from None
        if not self._tokenizer.chat_template:
            raise InputError(
                f"chat.transformers.model: {model!r} has no chat template; use a chat model"
            )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model.eval()
        self._batch_size = batch_size
        self._verdict = verdict
        commit = getattr(self._model.config, "_commit_hash", None) or _state(model) or revision
        self.identity = {
            "engine": "transformers",
            "model": model,
            "revision": commit,
            "dtype": str(self._model.dtype),
            "verdict": verdict,
        }

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Replies batch by batch, longest prompts first (what does not fit fails at once)."""
        tokens = [self._render(request) for request in requests]
        order = sorted(
            range(len(requests)), key=lambda i: (self._kind(requests[i]), -len(tokens[i]), i)
        )
        for (_, question), run in groupby(order, key=lambda i: self._kind(requests[i])):
            rows = list(run)
            for start in range(0, len(rows), self._batch_size):
                part = rows[start : start + self._batch_size]
                batch = self._tokenizer.pad(
                    {"input_ids": [tokens[i] for i in part]}, return_tensors="pt"
                ).to(self._model.device)
                chosen = [requests[i] for i in part]
                replies = self._judge(batch) if question else self._write(batch, chosen)
                yield from zip(part, replies, strict=True)

    def _kind(self, request: Request) -> tuple[str, bool]:
        """Requests of one kind may share a batch."""
        return repr(request.sampling), request.task in QUESTIONS and self._verdict == "logits"

    def _render(self, request: Request) -> list[int]:
        """Token ids by the chat template, which writes the special tokens itself."""
        messages = [{"role": role, "content": text} for role, text in request.messages]
        encoded = self._tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            enable_thinking=False,
        )
        return list(encoded["input_ids"])

    @torch.inference_mode()
    def _write(self, batch: Any, requests: Sequence[Request]) -> list[Reply]:
        sampling = requests[0].sampling
        options: dict[str, Any] = {
            "do_sample": False,
            "temperature": None,
            "top_p": None,
            "top_k": None,
        }
        if sampling.temperature > 0:
            options = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": 0,
            }
            seeds = repr([(request.seed, request.messages) for request in requests])
            torch.manual_seed(
                int.from_bytes(hashlib.sha256(seeds.encode()).digest()[:8], "big") >> 1
            )
        out = self._model.generate(
            **batch,
            max_new_tokens=sampling.max_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            **options,
        )
        replies = []
        for row in out[:, batch["input_ids"].shape[1] :].tolist():
            ends = [position for position, token in enumerate(row) if token in self._ends()]
            text = self._tokenizer.decode(row[: ends[0]] if ends else row, skip_special_tokens=True)
            replies.append(Reply(text.strip(), "stop" if ends else "length"))
        return replies

    def _ends(self) -> set[int]:
        found = self._model.generation_config.eos_token_id
        if found is None:
            found = self._tokenizer.eos_token_id
        return {found} if isinstance(found, int) else set(found or [])

    @torch.inference_mode()
    def _judge(self, batch: Any) -> list[Reply]:
        """One forward pass: P(True) against False alone, at the first answer position."""
        first = [self._tokenizer.encode(word, add_special_tokens=False)[0] for word in ANSWERS]
        if first[0] == first[1]:
            raise InputError(
                "chat.transformers.verdict: True and False begin with the same token for this "
                "tokenizer; use verdict: text"
            )
        out = self._model.generate(
            **batch,
            max_new_tokens=1,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        pair = out.logits[0][:, first].float()
        probability = pair.softmax(dim=-1)[:, 0].tolist()
        return [Reply(ANSWERS[p < 0.5], "stop", p) for p in probability]


def _state(model: str) -> str:
    """What tells a local folder of weights from another state of itself; empty for what is no folder."""
    if not Path(model).is_dir():
        return ""
    facts = [state(path) for path in sorted(Path(model).iterdir()) if path.is_file()]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
