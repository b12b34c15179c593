"""Questions for chat engines, and a server that misbehaves when told to."""

import http.server
import json
import threading
import time

import pytest

from clipworks.chat.openai_engine import OpenAIEngine
from clipworks.chat.params import Sampling
from clipworks.chat.request import Request

GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=12)


def question(
    text: str, task: str = "caption", sampling: Sampling = GREEDY, seed: int = 0
) -> Request:
    return Request(task, "t", "h", (("user", text),), sampling, seed)


TEXTS = [
    "a dog",
    "is this a good description of a bus next to a dog that sits?",
    "True",
    "a bus sits next to",
    "or",
    "dog dog dog",
]


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
                if trouble == "400 of a field":
                    status = 400
                    answer = json.dumps({"error": {"message": "Unknown field: seed"}})
                if trouble == "filtered question":
                    status = 400
                    answer = json.dumps({"error": {"message": "no", "code": "content_filter"}})
                if trouble.startswith("filter") and status == 200:
                    answer = answer.replace('"stop"', '"content_filter"')
                if trouble in ("filter", "blank"):
                    answer = answer.replace(json.dumps(text), "null")
                if trouble == "a page":
                    answer = "<html><body>It works!</body></html>"
                if trouble == "broken":
                    answer = answer[:40]
                if trouble == "overloaded":
                    said = "the model is overloaded, it has 4096 places and a second for each"
                    answer = json.dumps({"error": {"message": said, "code": 502}})
                if trouble == "empty":
                    answer = json.dumps({"id": "1", "choices": []})
                if trouble == "object":
                    answer = answer.replace(json.dumps(text), '{"text": 1}')
                data = answer.encode()
                if trouble == "parts":
                    told = [{"type": "text", "text": text}, {"type": "image"}]
                    data = answer.replace(json.dumps(text), json.dumps(told)).encode()
                if trouble == "bytes":
                    data = data.replace(json.dumps(text).encode(), b'"\xff\xfe"')
                if trouble == "half":
                    data = data.replace(
                        b'"assistant", "content": "', b'"assistant", "content": "\\ud83d'
                    )
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
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits half a second and more before it tries again."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.02)


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
        "omit": [],
    }
    return OpenAIEngine(**{**options, **changes})
