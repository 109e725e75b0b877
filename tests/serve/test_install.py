"""Settings of agents: one entry is written and taken out again, everything else stays as it was, byte by byte."""

import json
import os
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mose.errors import OutputError
from mose.serve.settings import jsonc
from mose.serve.settings.clients import CLIENTS, launch
from mose.serve.settings.install import plan_install, plan_uninstall

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
    assert mose("mcp", "--uninstall", "claude", "--yes")[0] == 0 and not (user / ".claude.json").exists()
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
