"""Settings of agents: one entry is written and taken out again, everything else stays as it was, byte by byte."""

import json
import os
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mose.errors import OutputError
from mose.serve.settings import jsonc
from mose.serve.settings.clients import CLIENTS, grep_hook, launch
from mose.serve.settings.grep_hint import HINT
from mose.serve.settings.install import plan_hook, plan_install, plan_uninstall

JSON_CLIENTS = [name for name in CLIENTS if name != "codex"]
SETTINGS = {
    "none": None,
    "empty": "",
    "braces": "{}",
    "others": '{\n  "theme": "dark",\n  "SECTION": {\n    "other": {\n      "command": "x"\n    }\n  }\n}\n',
    "one line": '{"theme":"dark","SECTION":{"other":{"command":"x"}}}',
    "comments": "// My settings\n{\n\t\"theme\": \"da//rk\", // dark, at night\n\t/* servers */\n\t\"SECTION\": {\n\t\t\"other\": { \"command\": \"x\" } // of mine\n\t}\n}\n",
    "last commas": '{\n    "SECTION": {\n        "other": {"args": ["a", "b",],},\n    },\n}\n',
    "windows": '{\r\n  "theme": "dark"\r\n}\r\n',
    "no section": '{\n  "theme": "dark" // at night\n}\n',
    "odd": '{ "a\\"b": [1, {"x": "}"}, []], "t": true , "n": null }',
}  # fmt: skip


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    """A home folder of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "MOSE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(client, text):
    file = CLIENTS[client].file()
    if text is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.replace("SECTION", CLIENTS[client].path[0]).encode())
    return file


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("client", JSON_CLIENTS)
def test_the_entry_is_written_and_undone(client, name):
    file = write(client, SETTINGS[name])
    before = file.read_bytes() if file.exists() else None
    old = jsonc.parse(before.decode()) if before else {}
    section, entry = CLIENTS[client].path
    plan_install(CLIENTS[client], launch()).make()
    new = jsonc.parse(file.read_text(encoding="utf8"))
    assert new[section].pop(entry) == CLIENTS[client].entry(launch())
    if not new[section]:
        del new[section]
    assert new == old
    for remark in ("// My settings", "// dark, at night\n", "/* servers */", "// of mine\n", "// at night\n"):
        assert (remark.encode() in (before or b"")) == (remark.encode() in file.read_bytes())
    assert plan_install(CLIENTS[client], launch()).is_none
    plan_uninstall(CLIENTS[client]).make()
    after = file.read_bytes() if file.exists() else None
    assert after == before or (name in ("empty", "braces") and after is None)
    assert plan_uninstall(CLIENTS[client]).is_none


TOML = [
    "", 'model = "x"\n', '# Mine\nmodel = "x" # y\n\n[mcp_servers.other]\ncommand = "o"\n\n[tui]\nz = [\n  1,\n]\n',
    '[mcp_servers."other.x"]\ncommand = """\n a\n"""\n',
]  # fmt: skip


@pytest.mark.parametrize("text", [None, *TOML])
def test_the_table_of_codex_is_written_and_undone(text, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", "/some/ho\"me'\\x")
    file = write("codex", text)
    plan_install(CLIENTS["codex"], launch()).make()
    new = tomllib.loads(file.read_text())
    assert new["mcp_servers"].pop("mose") == CLIENTS["codex"].entry(launch())
    old = tomllib.loads(text or "")
    assert {key: value for key, value in new.items() if value} == old
    moved = file.read_text().replace("[mcp_servers.mose]", "[mcp_servers.mose]\nstartup_timeout_sec = 9")
    file.write_text(moved + "\n[later]\na = 1\n")
    plan_install(CLIENTS["codex"], launch()).make()
    assert "startup" not in file.read_text()
    plan_uninstall(CLIENTS["codex"]).make()
    assert tomllib.loads(file.read_text()) == {**old, "later": {"a": 1}}
    for line in (text or "").splitlines():
        assert line in file.read_text().splitlines()


def test_uninstalling_codex_gives_the_very_bytes_back():
    for text in TOML[1:]:
        file = write("codex", text)
        plan_install(CLIENTS["codex"], launch()).make()
        plan_uninstall(CLIENTS["codex"]).make()
        assert file.read_text() == text


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "text", ["[1, 2]", "{", '{"SECTION": 3}', '{"a": 1} x', "\x00", '{"SECTION": {"mose": }}', "[" * 5_000]
)
def test_settings_that_are_not_understood_are_left_alone(client, text):
    file = write(client, text)
    before = file.read_bytes()
    with pytest.raises(OutputError, match=r"cannot be (changed|read)"):
        plan_install(CLIENTS[client], launch())
    assert file.read_bytes() == before


def test_mode_and_link_stay_and_a_change_in_between_is_not_lost(user):
    real = user / "dotfiles" / "cursor.json"
    real.parent.mkdir()
    real.write_text('{"token": "secret"}')
    real.chmod(0o640)
    file = CLIENTS["cursor"].file()
    file.parent.mkdir()
    file.symlink_to(real)
    plan_install(CLIENTS["cursor"], launch()).make()
    assert file.is_symlink() and "mose" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    change = plan_uninstall(CLIENTS["cursor"])
    real.write_text('{"token": "new"}')
    with pytest.raises(OutputError, match="has just been changed"):
        change.make()
    assert real.read_text() == '{"token": "new"}'
    assert [path.name for path in real.parent.iterdir()] == ["cursor.json"]


def test_what_is_written_starts_this_very_installation(tmp_path, mose, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / "index"))
    assert mose("mcp", "--install", "gemini", "--yes", "--exit", "2", str(tmp_path))[0] == 0
    entry = json.loads((tmp_path / ".gemini" / "settings.json").read_text())["mcpServers"]["mose"]
    assert os.path.isabs(entry["command"]) and os.access(entry["command"], os.X_OK)
    assert entry["args"][-4:] == ["mcp", "--exit", "2", str(tmp_path)]
    assert entry["env"] == {"MOSE_HOME": str(tmp_path / "index")}


def test_the_folder_of_the_indexes_is_written_as_the_path_that_it_is(user, mose, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", "~/x")
    assert mose("mcp", "--install", "gemini", "--yes")[0] == 0
    entry = json.loads((user / ".gemini" / "settings.json").read_text())["mcpServers"]["mose"]
    assert entry["env"] == {"MOSE_HOME": str(user / "x")}


def test_the_command_shows_the_change_and_asks(mose, monkeypatch, user):
    code, out, err = mose("mcp", "--install", "claude")
    assert code == 2 and "--yes" in err and not (user / ".claude.json").exists()
    assert '+      "type": "stdio",' in out and str(user / ".claude.json") in out
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert mose("mcp", "--install", "claude")[0] == 1 and not (user / ".claude.json").exists()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert mose("mcp", "--install", "claude")[0] == 0 and (user / ".claude.json").exists()
    assert "has it already" in mose("mcp", "--install", "claude")[1]
    status, said = mose("mcp", "--uninstall", "claude", "--yes")[:2]
    assert status == 0 and not (user / ".claude.json").exists() and ".claude.json is removed." in said
    assert "does not have it" in mose("mcp", "--uninstall", "claude", "--yes")[1]
    assert mose("mcp", "--install", "emacs")[0] == 2


class Terminal:
    def __init__(self, line):
        self.line = line

    def isatty(self):
        return True

    def readline(self):
        return self.line


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=4) | st.just("s"), VALUES, max_size=4),
    st.sampled_from([None, 1, "\t"]),
    st.sampled_from(["", "// c\n", "/* } */ "]),
)
def test_any_object_keeps_its_other_members(settings, indent, remark):
    text = remark + json.dumps(settings, indent=indent) + "\n" + remark
    if not isinstance(settings.get("s", {}), dict):
        return
    new = jsonc.set_member(text, ("s", "mose"), {"a": [1]})
    assert jsonc.parse(new) == {**settings, "s": {**settings.get("s", {}), "mose": {"a": [1]}}}
    old = jsonc.remove_member(new, ("s", "mose"))
    rest = {name: value for name, value in settings.get("s", {}).items() if name != "mose"}
    assert jsonc.parse(old) == ({**settings, "s": rest} if rest else {k: v for k, v in settings.items() if k != "s"})
    if "s" not in settings and settings:
        assert old == text


def test_the_command_line_names_the_clients():
    from mose.cli import serving

    assert tuple(CLIENTS) == serving._CLIENTS
    assert all(Path.home() in client.file().parents for client in CLIENTS.values())


# ---- the hook that reminds of the search

OTHERS = {
    "none": None,
    "no hooks": '{\n  "model": "x"\n}\n',
    "another event": '{\n  "hooks": {\n    "Stop": [\n      {\n        "hooks": []\n      }\n    ]\n  }\n}\n',
    "another hook": '{\n  "hooks": {\n    "PreToolUse": [\n      {\n        "matcher": "Bash",\n        "hooks": [\n          {\n'
    '            "type": "command",\n            "command": "x"\n          }\n        ]\n      }\n    ]\n  }\n}\n',
    "an empty list": '{\n  "hooks": {\n    "PreToolUse": []\n  }\n}\n',
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_the_hook_is_put_behind_others_and_undone(user, name):
    file = user / "settings.json"
    if OTHERS[name] is not None:
        file.write_text(OTHERS[name])
    assert plan_hook(file, None).is_none
    old = json.loads(OTHERS[name] or "{}")
    plan_hook(file, grep_hook()).make()
    new = json.loads(file.read_text())
    assert new["hooks"]["PreToolUse"] == [*old.get("hooks", {}).get("PreToolUse", []), grep_hook()]
    assert {**new, "hooks": 0} == {**old, "hooks": 0}
    assert plan_hook(file, grep_hook()).is_none
    moved = file.read_text().replace("/bin/python", "/old/python")
    file.write_text(moved)
    plan_hook(file, grep_hook()).make()
    assert json.loads(file.read_text()) == new  # that of an earlier installation is replaced
    plan_hook(file, None).make()
    if name == "an empty list":
        assert json.loads(file.read_text() if file.exists() else "{}") == {}
    else:
        assert (file.read_text() if file.exists() else None) == OTHERS[name]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"hooks": 3}', '{"hooks": {"PreToolUse": {"a": 1}}}', '{"hooks": {} /* mine */}', "[" * 5_000]
)
def test_hooks_that_are_not_understood_are_left_alone(user, text):
    file = user / "settings.json"
    file.write_text(text)
    with pytest.raises(OutputError, match="cannot be changed"):
        plan_hook(file, grep_hook())


def test_a_hook_of_the_user_beside_ours_is_not_taken_out(user):
    both = {"matcher": "Bash", "hooks": [*grep_hook()["hooks"], {"type": "command", "command": "x"}]}
    file = user / "settings.json"
    file.write_text(json.dumps({"hooks": {"PreToolUse": [both]}}))
    assert plan_hook(file, None).is_none


def ran(call, **changed):
    """What the hook says to a call, run as Claude Code runs it."""
    command = grep_hook()["hooks"][0]["command"]
    for old, new in changed.items():
        assert old in command
        command = command.replace(old, new)
    given = call if isinstance(call, bytes) else json.dumps(call).encode()
    done = subprocess.run(["sh", "-c", command], input=given, capture_output=True, timeout=60)
    assert done.returncode == 0
    return json.loads(done.stdout)["hookSpecificOutput"] if done.stdout else None


@pytest.mark.parametrize(
    ("tool", "given", "hinted"),
    [
        ("Grep", {"pattern": "where requests are retried"}, True),
        ("Grep", {"pattern": "retry.*with.*backoff"}, True),
        ("Grep", {"pattern": r"parse\s+a\s+date|strptime"}, True),
        ("Grep", {"pattern": "HTTPAdapter"}, False),
        ("Grep", {"pattern": "async def fetch"}, False),
        ("Grep", {"pattern": "from typing import Any"}, False),
        ("Grep", {"pattern": "max_tokens = 5"}, False),
        ("Grep", {"pattern": "retry|backoff|timeout"}, False),
        ("Grep", {}, False),
        ("Bash", {"command": 'cd src && rg -n -i "where requests are retried" .'}, True),
        ("Bash", {"command": "git grep 'where requests are retried' -- '*.py'"}, True),
        ("Bash", {"command": "grep -rn --include='*.py' \"where requests are retried\" ."}, True),
        ("Bash", {"command": "pytest 2>&1 | grep 'no tests were run'"}, False),
        ("Bash", {"command": "echo 'where requests are retried'"}, False),
        ("Bash", {"command": "grep -rn 'def retry' ."}, False),
        ("Bash", {"command": "rg 'a.b' . | sed 's/where requests are/x y z/'"}, False),
        ("Read", {"file_path": "where requests are retried"}, False),
    ],
)
def test_the_hook_hints_at_phrases_alone(tool, given, hinted):
    said = ran({"session_id": "x", "tool_name": tool, "tool_input": given})
    assert said == ({"hookEventName": "PreToolUse", "additionalContext": HINT} if hinted else None)


def test_the_hook_never_refuses_a_call():
    for odd in (
        b"",
        b"{",
        b"[]",
        b'{"tool_name": "Grep"}',
        b'{"tool_name": "Grep", "tool_input": 3}',
        b"\xff" * 300_000,
    ):
        assert ran(odd) is None
    phrase = {"tool_name": "Grep", "tool_input": {"pattern": "where requests are retried"}}
    assert ran(phrase, **{"grep_hint.py": "gone.py"}) is None  # mose was removed, the settings were not
    long = {"tool_name": "Bash", "tool_input": {"command": "grep " + "'a b' " * 10_000 + "\n; " * 10_000 + '"'}}
    assert ran(long) is None


def test_the_command_installs_the_hook_and_takes_it_out(mose, user):
    file = user / ".claude" / "settings.json"
    assert mose("mcp", "--install", "claude", "--yes")[0] == 0 and not file.exists()
    code, out, _ = mose("mcp", "--install", "claude", "--hook", "--yes")
    assert code == 0 and str(file) in out and grep_hook() in json.loads(file.read_text())["hooks"]["PreToolUse"]
    assert "has it already" in mose("mcp", "--install", "claude", "--hook")[1]
    assert mose("mcp", "--uninstall", "claude", "--yes")[0] == 0
    assert not file.exists() and not (user / ".claude.json").exists()
    for wrong in (("--hook",), ("--install", "codex", "--hook", "--yes")):
        code, _, err = mose("mcp", *wrong)
        assert code == 2 and "--install claude" in err
    assert not (user / ".codex").exists()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_user_without_a_home_folder_is_told(mose, no_home, client):
    code, out, err = mose("mcp", "--install", client, "--yes")
    assert (code, out) == (2, "")
    assert err == (
        "ConfigError: there is no home folder, in which agents keep their settings.\n  Set HOME to that folder.\n"
    )
