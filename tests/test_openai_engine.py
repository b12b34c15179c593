"""Servers that speak OpenAI's protocol: each request answered in spite of trouble, or reported."""

import pytest
from chatting import TEXTS, Server, question

from clipworks.chat.journal import Journal
from clipworks.chat.openai_engine import OpenAIEngine
from clipworks.kit.errors import InputError


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


@pytest.mark.parametrize(
    ("trouble", "message"),
    [("a page", r"no valid answer: no JSON \(is chat\.openai\.base_url right"),
     ("400 of a field", r"Unknown field: seed; chat\.openai\.omit=\[seed\] leaves that out")],
)  # fmt: skip
def test_what_people_set_wrongly_is_named(server, tmp_path, trouble, message) -> None:
    server.plan = [trouble] * 2
    with Journal(tmp_path / "j.sqlite") as journal, pytest.raises(InputError, match=message):
        journal.ask(client(server, retries=1), [question("a")], label="test")


def test_some_replies_without_a_word_are_told(server, tmp_path, capsys) -> None:
    server.plan = ["", "blank"]
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.ask(client(server, concurrency=1), [question("a"), question("b")], label="test")
    assert (
        "warning: test: 1 of 2 replies hold no word; they are not kept" in capsys.readouterr().out
    )


def test_a_refused_key_or_model_stops_at_once_with_the_variable(server, monkeypatch) -> None:
    monkeypatch.setenv("CLIPWORKS_TEST_KEY", "secret")
    for status in ("401", "404"):
        server.plan = [status] * 20
        with pytest.raises(
            ValueError, match=rf"refuses: .*status {status}.*\$CLIPWORKS_TEST_KEY"
        ) as caught:
            list(client(server).answer([question("a")]))
        assert "secret" not in str(caught.value)
    assert set(server.keys) == {"Bearer secret"}


def test_one_refused_question_costs_no_other_its_answer(server, tmp_path) -> None:
    server.plan = ["", "400", "400"]
    asked = [question(text) for text in "abcdef"]
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(
            InputError, match=r"2 of 6 requests failed \(BadRequestError.* status 400"
        ):
            journal.ask(client(server, concurrency=1), asked, label="test")
        assert len(journal) == 4


def test_a_question_that_is_refused_for_good_is_told_and_stops_nothing(
    server, tmp_path, capsys
) -> None:
    asked = [question(text) for text in "abcdefghijklmnopqrstu"]
    with Journal(tmp_path / "j.sqlite") as journal:
        for plan in (["", "400"], ["400"], []):  # the second run asks for that one alone
            server.plan = list(plan)
            replies = journal.ask(client(server, concurrency=1), asked, label="test")
            assert [reply.text for reply in replies[:3]] == ["A", "" if plan else "B", "C"]
            told = capsys.readouterr().out
            assert ("server refuses 1 of" in told and "status 400" in told) == bool(plan)
        assert len(journal) == 21
        server.plan = ["", "400"]
        with pytest.raises(InputError, match="1 of 2 requests failed"):  # half is no small part
            two = [question("new"), question("newer")]
            journal.ask(client(server, concurrency=1), two, label="test")


def test_a_server_that_refuses_every_request_is_not_asked_them_all(server, tmp_path) -> None:
    server.plan = ["400"] * 300
    asked = [question(str(number)) for number in range(300)]
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(InputError, match=r"64 requests in a row failed .* status 400"):
            journal.ask(client(server), asked, label="test")
    assert 64 <= len(server.bodies) < 100


def test_fields_that_a_server_refuses_can_be_left_out(server) -> None:
    plain, bare = client(server), client(server, omit=["seed", "max_tokens"])
    for each in (plain, bare):
        list(each.answer([question("a")]))
    assert set(server.bodies[0]) - set(server.bodies[1]) == {"seed", "max_tokens"}
    assert bare.identity == {**plain.identity, "omit": "max_tokens seed"}


def test_what_is_being_answered_when_the_key_is_refused_is_kept(server, tmp_path) -> None:
    server.plan, server.delay = ["", "", "401"], 0.2
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(InputError, match=r"refuses: .*status 401"):
            journal.ask(
                client(server, concurrency=3), [question(t) for t in "abcdef"], label="test"
            )
        assert len(journal) == len(server.bodies) - 1 >= 2  # all but the refused one


@pytest.mark.parametrize("trouble", ["filter", "filtered question"])
def test_what_a_servers_filter_refuses_is_an_empty_reply_that_is_kept(
    server, tmp_path, trouble
) -> None:
    server.plan = ["", trouble]
    with Journal(tmp_path / "j.sqlite") as journal:
        for _ in range(2):
            replies = journal.ask(
                client(server, concurrency=1), [question("a"), question("b")], label="test"
            )
            assert [(r.text, r.finish) for r in replies] == [("A", "stop"), ("", "refused")]
        assert journal.asked == 2


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


def test_questions_that_are_refused_do_not_stop_those_behind_them(server, tmp_path) -> None:
    asked = [question(str(i)) for i in range(80)]
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.ask(client(server), [question("before")], label="test")
        for kept, plan in ((10, ["", *["400"] * 70]), (19, ["400"] * 61)):
            server.plan = list(plan)
            with pytest.raises(InputError, match=r"\d+ of \d+ requests failed \(BadRequestError"):
                journal.ask(client(server, concurrency=1), asked, label="test")
            assert len(journal) == 1 + kept  # also where those that were refused come first


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
