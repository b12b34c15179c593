"""Servers that speak OpenAI's protocol: each request answered in spite of trouble, or reported."""

import pytest
from chatting import TEXTS, Server, question

from clipworks.chat.journal import Journal
from clipworks.chat.openai_engine import OpenAIEngine
from clipworks.kit.errors import InputError


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


@pytest.mark.parametrize(
    "trouble",
    ["", "slow", "429", "500", "503", "cut", "broken", "empty", "object", "bytes", "parts"],
)
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


def test_half_of_a_sign_is_kept_as_a_question_mark(server, tmp_path) -> None:
    server.plan = ["half"]
    with Journal(tmp_path / "j.sqlite") as journal:
        for _ in range(2):  # asked, and from the journal
            (reply,) = journal.ask(client(server), [question("a")], label="test")
            assert reply.text == "?A"


@pytest.mark.parametrize(
    "address",
    ["http://[::1/v1", "http://localhost:80a/v1", "http:///v1", "localhost:80", "ftp://h/v1"],
)
def test_what_is_no_address_is_refused(server, address: str) -> None:
    with pytest.raises(
        InputError, match=r"chat\.openai\.base_url: .* is no http address; http://HOST"
    ):
        client(server, base_url=address)


def test_a_key_that_was_copied_with_its_mask_is_refused(server, monkeypatch) -> None:
    monkeypatch.setenv("CLIPWORKS_TEST_KEY", "sk-\u2026abc")
    with pytest.raises(
        InputError, match=r"the key in \$CLIPWORKS_TEST_KEY holds signs that no key has"
    ):
        client(server)


def test_switching_thinking_off_asks_anew_and_leaving_it_on_keeps_what_was_paid_for(server) -> None:
    one, other = client(server).identity, client(server, no_thinking=True).identity
    assert one != other and set(one) == {"engine", "model", "revision", "structured"}
