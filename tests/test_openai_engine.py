"""Servers that speak OpenAI's protocol: each request answered in spite of trouble, or reported."""

import pytest
from chatting import TEXTS, client, question, quick, server

from clipworks.chat.journal import Journal
from clipworks.kit.errors import InputError

__all__ = ["quick", "server"]  # fixtures


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


def test_an_error_that_is_sent_as_if_all_were_well_is_told(server, tmp_path) -> None:
    server.plan = ["overloaded"] * 2
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(
            InputError,
            match=r"no valid answer: the model is overloaded, .* a second for each\); what was ans",
        ):
            journal.ask(client(server, retries=1), [question("a")], label="test")


def test_some_replies_without_a_word_are_told(server, tmp_path, capsys) -> None:
    server.plan = ["", "blank"]
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.ask(client(server, concurrency=1), [question("a"), question("b")], label="test")
    assert (
        "warning: test: 1 of 2 replies hold no word; they are not kept" in capsys.readouterr().out
    )


def test_a_sentence_that_a_filter_cut_is_cut(server) -> None:
    server.plan = ["filter cut"]
    ((_, reply),) = client(server).answer([question("a")])
    assert (reply.text, reply.finish) == ("A", "length")


def test_a_server_that_answers_without_a_word_is_told_and_asked_again(server, tmp_path) -> None:
    server.plan = ["blank"] * 3
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(InputError, match=r"test: no word stands in any of 2 replies"):
            journal.ask(client(server), [question("a"), question("b")], label="test")
        replies = journal.ask(
            client(server, concurrency=1), [question("a"), question("b")], label="test"
        )
        assert [r.text for r in replies] == ["", "B"] and len(journal) == 1
        replies = journal.ask(client(server), [question("a"), question("b")], label="test")
        assert [r.text for r in replies] == ["A", "B"]


def test_one_reply_without_a_word_stops_no_later_run(server, tmp_path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        for trouble in ("blank", "blank", ""):
            server.plan = [trouble]
            replies = journal.ask(
                client(server, concurrency=1), [question("b"), question("a")], label="test"
            )
            assert [r.text for r in replies] == ["B" if not trouble else "", "A"]


def test_who_knows_all_answers_needs_no_server(server, tmp_path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.ask(client(server), [question("a")], label="test")
        gone = client(server, base_url="http://127.0.0.1:9/v1")
        assert journal.ask(gone, [question("a")], label="test")[0].text == "A"
        with pytest.raises(InputError, match="no server answers at"):
            journal.ask(gone, [question("b")], label="test")


def test_a_server_that_went_is_not_asked_on_and_on(server, tmp_path) -> None:
    server.plan = ["", *["500"] * 999]
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(InputError, match=r"64 requests in a row failed \(InternalServerError"):
            journal.ask(
                client(server, retries=0), [question(str(i)) for i in range(400)], label="test"
            )
        assert len(journal) == 1 and len(server.bodies) < 90


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


def test_a_key_copied_with_the_end_of_its_line_is_the_key(server, monkeypatch) -> None:
    monkeypatch.setenv("CLIPWORKS_TEST_KEY", "secret\r\n")
    list(client(server).answer([question("a")]))
    assert server.keys == ["Bearer secret"]


def test_switching_thinking_off_asks_anew_and_leaving_it_on_keeps_what_was_paid_for(server) -> None:
    one, other = client(server).identity, client(server, no_thinking=True).identity
    assert one != other and set(one) == {"engine", "model", "revision", "structured"}


def test_a_server_behind_a_proxy_need_not_be_known_here(server, monkeypatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))  # which answers for all
    away = client(server, base_url="http://chat.example.invalid:8000/v1")
    assert dict(away.answer([question(TEXTS[0])]))[0].finish == "stop"
