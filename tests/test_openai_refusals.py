"""What a server refuses, of the key, the model or single questions: told, and nothing that was answered is lost."""

import pytest
from chatting import client, question, quick, server

from clipworks.chat.journal import Journal
from clipworks.kit.errors import InputError

__all__ = ["quick", "server"]  # fixtures


@pytest.mark.parametrize(
    ("trouble", "message"),
    [("a page", r"no valid answer: no JSON \(is chat\.openai\.base_url right"),
     ("400 of a field", r"Unknown field: seed; chat\.openai\.omit=\[seed\] leaves that out")],
)  # fmt: skip
def test_what_people_set_wrongly_is_named(server, tmp_path, trouble, message) -> None:
    server.plan = [trouble] * 2
    with Journal(tmp_path / "j.sqlite") as journal, pytest.raises(InputError, match=message):
        journal.ask(client(server, retries=1), [question("a")], label="test")


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


def test_questions_that_are_refused_do_not_stop_those_behind_them(server, tmp_path) -> None:
    asked = [question(str(i)) for i in range(80)]
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.ask(client(server), [question("before")], label="test")
        for kept, plan in ((10, ["", *["400"] * 70]), (19, ["400"] * 61)):
            server.plan = list(plan)
            with pytest.raises(InputError, match=r"\d+ of \d+ requests failed \(BadRequestError"):
                journal.ask(client(server, concurrency=1), asked, label="test")
            assert len(journal) == 1 + kept  # also where those that were refused come first


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
