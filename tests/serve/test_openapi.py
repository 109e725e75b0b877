"""`/openapi.json` says what the server does: the same fields, the same endpoints, no other status."""

import json

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from serving import serving

from mose.errors import ConfigError
from mose.serve.fields import FLAG, TEXT, TEXTS, Fields, integer, number, one_of, some_of

KINDS = {
    "text": TEXT, "texts": TEXTS, "flag": FLAG, "count": integer(1, 200), "share": number(0, 30),
    "mode": one_of("fused", "lexical"), "exit": one_of(0, 2, 3), "trees": some_of("a", "b"),
}  # fmt: skip
SAMPLE = Fields(kinds=KINDS, required=("text",))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3)
    | st.sampled_from(["fused", "a", "b", 0, 2.0, 3.5, True, 1, 200, 201, 30, 31]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
BOUNDS = st.sampled_from([0, 1, 200, 201, 30, 31, 30.5, "a", "c", [], ["a"], ["a", "c"]])


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from([*KINDS, "other"]), BOUNDS | VALUES, max_size=4), st.booleans())
@example({"trees": []}, True)
def test_body_is_accepted_exactly_if_its_schema_says_so(body, is_complete):
    body = {"text": "x", **body} if is_complete else body
    is_valid = jsonschema.Draft202012Validator(SAMPLE.schema()).is_valid(body)
    try:
        SAMPLE.read(json.dumps(body).encode())
    except ConfigError:
        assert not is_valid
    else:
        assert is_valid


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    (root / "dates.py").write_text("def parse_date(text):\n    '''Read a date.'''\n    return text\n")
    with serving(root) as server:
        yield server


@pytest.fixture(scope="module")
def document(server):
    status, content, _ = server.ask("GET", "/openapi.json")
    assert status == 200
    return json.loads(content)


def operations(document):
    return [(method.upper(), path, entry) for path, row in document["paths"].items() for method, entry in row.items()]


def body_schema(operation):
    return operation["requestBody"]["content"]["application/json"]["schema"]


def check(document, operation, status, content, headers):
    """The response is one that the document names, and looks so."""
    said = operation["responses"][str(status)]["content"]
    (kind,) = said
    assert headers["Content-Type"].partition(";")[0] == kind
    if kind == "application/json":
        schema = {**said[kind]["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(content))


BODIES = {
    "/search": {"query": "date", "limit_tokens": 500}, "/similar": {"path": "dates.py", "line": 1}, "/file": {"path": "dates.py"},
    "/v1/embeddings": {"input": "x", "model": "small@0"}, "/exits": {"measure": False},
}  # fmt: skip


def test_every_endpoint_of_the_document_answers_as_it_says(server, document):
    for method, path, operation in operations(document):
        body = BODIES.get(path, {}) if method == "POST" else None
        if body is not None:
            jsonschema.Draft202012Validator(body_schema(operation)).validate(body)
        answer = server.ask(method, path, body)
        assert answer[0] == 200, (path, answer)
        check(document, operation, *answer)
        for other in {"GET", "POST", "PUT", "DELETE"} - {method}:
            assert server.ask(other, path, headers={"Content-Type": "text/plain"})[0] == 405, (other, path)


def test_an_empty_text_is_refused_exactly_where_the_document_says_so(server, document):
    for method, path, operation in operations(document):
        schema = body_schema(operation) if method == "POST" else {"properties": {}}
        for name in schema["properties"]:
            for empty in ("", [""], ["", "x"]):
                body = {**BODIES[path], name: empty}
                is_valid = jsonschema.Draft202012Validator(schema).is_valid(body)
                assert (server.ask(method, path, body)[0] == 400) == (not is_valid), (path, body)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_body_gives_a_status_that_the_document_does_not_name(server, document, data):
    _, path, operation = data.draw(st.sampled_from([row for row in operations(document) if row[0] == "POST"]))
    properties = body_schema(operation)["properties"]
    named = [value for schema in properties.values() for value in enums(schema)]
    body = data.draw(
        st.dictionaries(st.sampled_from([*properties, "other"]), VALUES | st.sampled_from(named), max_size=4)
    )
    if data.draw(st.booleans()):
        body = {"query": "date", "path": "dates.py", "line": 1, "input": "x", "model": "small@0", **body}
        body = {name: value for name, value in body.items() if name in properties}
    status, content, headers = server.ask("POST", path, body)
    check(document, operation, status, content, headers)
    assert status < 500
    if not jsonschema.Draft202012Validator(body_schema(operation)).is_valid(body):
        assert status == 400


def enums(schema):
    if isinstance(schema, dict):
        yield from schema.get("enum", [])
        for inner in schema.values():
            yield from enums(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from enums(inner)
