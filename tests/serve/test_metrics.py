"""What `/metrics` tells Prometheus."""

import json

import pytest
from serving import serving


def samples(text):
    parser = pytest.importorskip("prometheus_client.parser")
    families = list(parser.text_string_to_metric_families(text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def test_metrics_count_requests_by_route_and_status_and_times_by_exit_and_name_nothing_of_users(sample_tree):
    secret = "hunter2"
    with serving(sample_tree) as server:
        for exit_layer in (0, 3, 6):
            server.post("/v1/embeddings", input=[secret, "b"], model=f"small@{exit_layer}", user=secret)
        server.post("/v1/embeddings", input=secret, model=secret)
        server.post("/search", query=secret, exit=0)
        server.post("/search", query=secret, mode="lexical")
        server.ask("GET", f"/{secret}")
        server.ask(secret.upper(), "/search")
        server.ask("GET", "/status", headers={"Host": secret})
        status, content, headers = server.ask("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert secret not in content.decode().lower()
    found = samples(content.decode())

    def requests(route, status):
        return found.get(("mose_requests_total", ("route", route), ("status", str(status))))

    assert requests("/v1/embeddings", 200) == 3 and requests("/v1/embeddings", 400) == 1
    assert requests("/search", 200) == 2 and requests("/search", 405) == 1
    assert requests("other", 404) == 1 and requests("/status", 421) == 1
    for stage, exits in {"queue": "036", "tokenisation": "036", "encoding": "036", "search": "0"}.items():
        for exit_layer in exits:
            count = found[f"mose_{stage}_seconds_count", ("exit", exit_layer)]
            assert count == (2 if (stage, exit_layer) == ("queue", "0") else 1), (stage, exit_layer)
            assert found[f"mose_{stage}_seconds_bucket", ("exit", exit_layer), ("le", "+Inf")] == count
            assert 0 <= found[f"mose_{stage}_seconds_sum", ("exit", exit_layer)] < 600
    assert found["mose_search_seconds_count", ("exit", "none")] == 1
    assert found["mose_requests_now",] == 1 and found["mose_texts_waiting",] == 0


def test_metrics_need_the_key_as_everything_else(sample_tree):
    key = "correct-horse-battery"
    with serving(sample_tree, "--api-key", key) as server:
        assert server.ask("GET", "/metrics")[0] == 401
        assert server.ask("GET", "/openapi.json")[0] == 401
        status, content, _ = server.ask("GET", "/metrics", headers={"Authorization": f"Bearer {key}"})
        assert status == 200 and b'status="401"} 1' in content
        status, content, _ = server.ask("GET", "/openapi.json", headers={"Authorization": f"Bearer {key}"})
        assert status == 200 and json.loads(content)["openapi"].startswith("3.1")
