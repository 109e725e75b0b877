"""`mose serve` as a process of its own, and a client for it."""

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager


class Server:
    def __init__(self, process, port):
        self.process, self.port = process, port

    def ask(self, method, path, body=None, headers=None, raw=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if method == "POST" else {}
        connection.request(method, path, data, {**given, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, answer.headers

    def post(self, path, /, headers=None, **body):
        status, content, _ = self.ask("POST", path, body, headers)
        return status, json.loads(content)


@contextmanager
def serving(*words, **environment):
    process = subprocess.Popen(
        [sys.executable, "-m", "mose", "serve", "--port", "0", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield Server(process, int(process.stdout.readline().strip().rpartition(":")[2]))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
