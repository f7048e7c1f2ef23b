"""A server can tell a retried call from a new one."""

from __future__ import annotations

from wire import AT_ONCE, Fails, Says, reaching


def keys_in(server) -> list[str]:
    return [seen.headers.get("idempotency-key", "") for seen in server.seen]


def test_all_attempts_at_a_call_share_one_key_and_each_call_has_its_own(runs, wire, dialect):
    overloaded = Fails(500, "no", AT_ONCE)
    server = wire(answer=lambda seen, before: overloaded if before < 3 else Says())
    environ = reaching(dialect, server.url)

    # Three attempts at the first call, and the run stops.
    run, failed = runs.start("bridges", dialect, KANDO_LLM_RETRIES="2", **environ)
    assert isinstance(failed, Exception)
    runs.environ.update(environ)
    runs.resume(run, dialect)
    runs.start("bridges", dialect)

    first, *attempts, of_another_run = keys_in(server)
    assert first.startswith("kando-")
    assert attempts == [first] * 3
    assert of_another_run not in ("", first)


def test_each_request_of_a_run_has_its_own_key(runs, wire, dialect):
    server = wire(Says())

    runs.start("bridges tunnels", dialect, **reaching(dialect, server.url))

    one, other = keys_in(server)
    assert one != other


def test_a_run_resumed_with_another_model_uses_another_key(runs, wire, dialect):
    server = wire(answer=lambda seen, before: Fails(500, "no", AT_ONCE) if not before else Says())
    runs.environ.update(reaching(dialect, server.url), KANDO_LLM_RETRIES="0")

    run, failed = runs.start("bridges", f"{dialect}:one")
    assert isinstance(failed, Exception)
    runs.resume(run, f"{dialect}:other")

    before, after = keys_in(server)
    assert before != after


def test_streaming_an_answer_does_not_change_the_key(wire, dialect):
    from kando.responders.idempotency import call_context
    from kando.schema.events import make_event
    from kando_llm.anthropic import open_anthropic
    from kando_llm.openai import open_openai

    server = wire(Says())
    opener = {"anthropic": open_anthropic, "openai": open_openai}[dialect]
    provider = opener("m", reaching(dialect, server.url))
    request = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 5}
    intent = make_event("llm.request", "run:r1", "x", [], request)

    with call_context(intent):
        provider(request)
        provider.stream(request, lambda piece: None)
    provider(request)
    provider.close()

    whole, streamed, of_no_run = keys_in(server)
    assert whole == streamed
    assert of_no_run == ""
