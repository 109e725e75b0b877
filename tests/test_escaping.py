"""No character that moves the cursor, ends a line, turns the reading direction or does not show gets through."""

import json
import sys
import unicodedata

from mose.errors import ConfigError
from mose.escaping import escape, escape_json

EVERY = [chr(code) for code in range(sys.maxunicode + 1)]
UNSEEN = [one for one in EVERY if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") and one != "\t"]


def test_every_control_format_and_separator_character_is_escaped():
    assert len(UNSEEN) > 2000
    for one in UNSEEN:
        assert escape(one).isascii() and escape(one).startswith("\\"), hex(ord(one))


def test_what_can_be_seen_stays_as_it_is():
    seen = "\tnaïve — 漢字 Ωmega \N{HEAVY BLACK HEART}\ufe0f e\u0301 \\x1b"
    assert escape(seen) == seen


def test_json_parses_to_the_same_value():
    for one in UNSEEN:
        line = escape_json(json.dumps(one, ensure_ascii=False))
        assert line.isascii() and line.isprintable()
        assert json.loads(line) == one


def test_an_error_stays_on_its_lines():
    error = ConfigError("a\nb\x1b[2J", got="c\nd", allowed="e\u202ef", remedy="g\x07\nh")
    assert str(error) == "a\\nb\\x1b[2J: got 'c\\nd', allowed: e\\u202ef.\n  g\\x07\n  h"
