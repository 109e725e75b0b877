"""OpenAI's own client against `/v1/embeddings`."""

import base64

import numpy as np
import pytest
from serving import serving

from mose import Encoder

openai = pytest.importorskip("openai")


def test_official_client_gets_vectors_models_and_errors(sample_tree):
    texts = ["def parse(x): return x", "a date", "日付"]
    with serving(sample_tree) as server:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="unused", max_retries=0)
        assert {"small", "small@0", "small@3"} <= {model.id for model in client.models.list()}
        for exit_layer, width, form in ((0, None, "float"), (3, 128, "base64"), (6, None, None)):
            options = {}
            if width is not None:
                options["dimensions"] = width
            if form is not None:
                options["encoding_format"] = form
            answer = client.embeddings.create(model=f"small@{exit_layer}", input=texts, **options)
            rows = [row.embedding for row in sorted(answer.data, key=lambda row: row.index)]
            if form == "base64":
                rows = [
                    np.frombuffer(base64.b64decode(row), dtype="<f4") if isinstance(row, str) else row for row in rows
                ]
            wanted = Encoder.load(exit=exit_layer, width=width).encode(texts)
            assert np.abs(np.array(rows) - wanted).max() < 1e-4
            assert answer.usage.prompt_tokens == answer.usage.total_tokens > 5 and answer.model == f"small@{exit_layer}"
        with pytest.raises(openai.BadRequestError, match="small@6"):
            client.embeddings.create(model="text-embedding-3-small", input="x")
        with pytest.raises(openai.BadRequestError, match="1 to 512"):
            client.embeddings.create(model="small", input=["x"] * 513)


def test_official_client_sends_the_key_and_waits_as_it_is_told(sample_tree):
    key = "correct-horse-battery"
    with serving(sample_tree, "--api-key", key) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list()
        assert openai.OpenAI(base_url=url, api_key=key).embeddings.create(model="small@0", input="x").data
