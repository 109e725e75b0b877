"""What a path says about a file."""

from __future__ import annotations

import time

import pytest

from mose.languages import (
    is_binary,
    is_documentation,
    is_example,
    is_generated,
    is_test,
    is_vendored,
    label_of,
    labels_named,
    language_of,
    may_be,
)
from mose.languages.content import LABELS, by_content, of_shebang
from mose.languages.tables import LANGUAGE_OF_EXTENSION


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.py", "python"),
        ("a.PY", "python"),
        ("a/b.tsx", "tsx"),
        ("a.h", "c"),
        ("a.hpp", "cpp"),
        ("Makefile", "make"),
        ("Makefile.am", "make"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("requirements.txt", "text"),
        (".bashrc", "bash"),
        (".py", "text"),
        ("LICENSE", "text"),
        ("a.unknown", "text"),
        ("", "text"),
    ],
)
def test_language_by_name(path, language):
    assert language_of(path) == language


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("#!/bin/sh", "bash"),
        ("#!/usr/bin/env node", "javascript"),
        ("#!/usr/bin/env -S FOO=1 python3.11 -u", "python"),
        ("#!/opt/unknown", None),
        ("#!", None),
        ("import x", None),
    ],
)
def test_language_by_first_line(line, language):
    assert of_shebang(line) == language


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/conftest.py", True),
        ("pkg/a_test.go", True),
        ("src/a.spec.ts", True),
        ("src/__tests__/a.js", True),
        ("src/FooTest.java", True),
        ("Tests/AppTests/A.swift", True),
        ("spec/models/user_spec.rb", True),
        ("test_a.py", True),
        ("src/latest.py", False),
        ("src/attest/a.py", False),
        ("src/contest.py", False),
        ("src/testimony.py", False),
        ("src/inspector.rb", False),
    ],
)
def test_tests(path, expected):
    assert is_test(path) is expected


@pytest.mark.parametrize(
    "path",
    [
        *("src/security.py", "app/SecurityConfig.java", "src/TodoList.tsx", "src/history.ts", "models/news.py"),
        *("app/authors_controller.rb", "src/license.go", "lib/changes.ex", "apps/website/src/index.tsx"),
        *("pkg/doc/doc.go", "doc/doc.go", "game/player.gd", "db/schema.prisma", "policy/a.rego", "vendors/list.py"),
        *("lib/test_functions.bash", "src/sample_recorder.h"),
    ],
)
def test_source_is_not_held_down_for_what_its_name_begins_with(path):
    assert not (is_documentation(path) or is_vendored(path) or is_test(path) or is_example(path))


def test_other_kinds_of_paths():
    assert is_vendored("a/third_party/b.c")
    assert is_vendored("web/jquery-3.1.0.slim.js")
    assert not is_vendored("src/vendor.py")
    assert is_generated("Form.Designer.cs")
    assert is_generated("a/Cargo.lock")
    assert not is_generated("src/map.py")


@pytest.mark.parametrize(
    ("names", "generated"),
    [
        ("a_pb2.py a_pb2_grpc.pyi a.pb.go a.pb.validate.go a_pb.js a_pb.d.ts zz_generated.deepcopy.go", True),
        ("jquery.min.js a-min.css a.js.map a.map app.bundle.js 1.chunk.css a.tsbuildinfo a.snap a.pbxproj", True),
        ("a.g.dart a.g.i.cs a.freezed.dart Form.Designer.vb a.generated.ts a_generated.go a-generated.go", True),
        (
            "a_min.js a-pb.js a.pb2.py a-pb2.py pb2.py min.js generated.go map a_map snap a.pb.py a_zz_generated.x.go",
            False,
        ),
    ],
)
def test_names_that_tools_write(names, generated):
    assert {name: is_generated(f"src/{name}") for name in names.split()} == dict.fromkeys(names.split(), generated)
    assert is_example("docs_src/tutorial001.py")
    assert not is_example("src/sampling/a.py")
    assert is_documentation("docs/a.py")
    assert is_documentation("README.rst")
    assert is_documentation("LICENSE.APACHE")
    assert is_documentation("notes.txt")
    assert not is_documentation("src/docs.py")
    assert is_binary("a/b.WOFF2")


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.m", '#import "Player.h"\n@implementation Player\n@end\n', "objective-c"),
        ("a.m", "// Copyright\n#include <stdio.h>\nint main() {}\n", "objective-c"),
        ("a.m", "% mean\nfunction y = f(x)\ny = x;\n", "matlab"),
        ("a.m", "x = 1\n", "matlab"),
        ("a.m", ":- module hello.\n", "mercury"),
        ("a.mm", "x\n", "objective-c"),
        ("a.h", "#ifndef A\nint f(void);\n#endif\n", "c"),
        ("a.h", "/*\n * using the class of things\n class of things\n */\nstruct a { int b; };\n", "c"),
        ("a.h", "#pragma once\n#include <vector>\nnamespace a {\nint f();\n}\n", "cpp"),
        ("a.h", "class Socket final : public Base {\npublic:\n  int fd;\n};\n", "cpp"),
        ("a.h", "std::string name();\n", "cpp"),
        ("a.h", "#import <Foundation/Foundation.h>\n@interface A : NSObject\n@end\n", "objective-c"),
        ("a.h", "/**\n * @class Foo\n * @interface Bar\n */\nint f(void);\n", "c"),
        ("a.inc", "<?php\nfunction f() {}\n", "php"),
        ("a.inc", "#define A 1\nstatic int x = 1;\n", "c"),
        ("a.inc", 'SUMMARY = "x"\nSRC_URI:append = " file://a"\ninherit cmake\n', "bitbake"),
        ("a.inc", "%macro push_all 0\n  push eax\n%endmacro\n", "assembly"),
        ("a.pl", "#!/usr/bin/perl\nuse strict;\n", "perl"),
        ("a.pl", ":- use_module(library(lists)).\nparent(tom, bob).\n", "prolog"),
        ("a.pl", "ancestor(X, Y) :- parent(X, Y).\n", "prolog"),
        ("a.pro", "QT += core gui\nTARGET = app\n", "qmake"),
        ("a.pro", "a(X) :- b(X).\n", "prolog"),
        ("a.pro", "pro plot_it, x\nend\n", "idl"),
        ("a.cl", "__kernel void add(__global float *a) {}\n", "opencl"),
        ("a.cl", ";; x\n(defun f (x) x)\n", "lisp"),
        ("queries/locals.scm", "; Scopes\n\n(function_definition\n  body: (_) @scope)\n", "tree-sitter-query"),
        ("queries/c/highlights.scm", '[\n  "if"\n  "else"\n] @keyword\n', "tree-sitter-query"),
        ("highlights.scm", '((identifier) @constant\n (#match? @constant "^[A-Z]+$"))\n', "tree-sitter-query"),
        ("queries/cpp/folds.scm", "; inherits: c\n", "tree-sitter-query"),
        ("queries/a.scm", "(define (query x)\n  `(a ,@(map f x) ,x)) ; (as in a) @rest\n", "lisp"),
        ("a.v", "module counter(input clk);\nendmodule\n", "verilog"),
        ("a.v", "Require Import Arith.\nTheorem t : 1 = 1.\n", "coq"),
        ("a.v", "module main\n\nfn main() {\n}\n", "v"),
        ("a.t", "use Test::More;\nok(1);\n", "perl"),
        ("a.t", "Set up:\n\n  $ hg init\n", "cram"),
        ("a.d", "main.o: main.c a.h\n", "make"),
        ("a.d", "import std.stdio;\nvoid main() {}\n", "d"),
        ("a.r", "x <- c(1, 2)\n", "r"),
        ("a.R", "f <- function(x) x\n", "r"),
        ("a.ts", '<?xml version="1.0"?>\n<TS></TS>\n', "xml"),
        ("a.ts", "export const a = 1;\n", "typescript"),
        ("a.fs", "#version 330\nvoid main() {}\n", "glsl"),
        ("a.fs", "module A\nlet x = 1\n", "fsharp"),
        ("a.pp", "class nginx {\n}\n", "puppet"),
        ("a.pp", "unit Main;\ninterface\n", "pascal"),
        ("a.cls", "\\NeedsTeXFormat{LaTeX2e}\n", "tex"),
        ("run", "#!/usr/bin/env python3\n", "python"),
        ("run.cgi", "#!/usr/bin/perl\n", "perl"),
        ("notes.txt", "#!/bin/sh\n", "text"),
        ("notes", "Shopping\n", "text"),
        ("a.py", "#import <x.h>\n@end\n", "python"),
    ],
)
def test_content_decides_where_the_name_leaves_a_choice(path, text, language):
    assert label_of(path, text) == language
    assert may_be(path, language_of(path), language)


@pytest.mark.parametrize("ending", sorted({path.split(".")[1] for path in ["a.m", "a.h", "a.inc", "a.pl", "a.pro"]}))
@pytest.mark.parametrize(
    "text",
    [
        "\n" * 60_000, " " * 60_000, "@class" + " " * 60_000, "class" + " a" * 30_000, "class " + "a" * 60_000,
        "do_" + "a" * 60_000, "A" + ":b" * 30_000, "a.o" * 20_000, "unit " + "a" * 60_000, "a(" * 30_000, "\t\n" * 30_000,
        "using " * 10_000, "namespace " + "a::" * 20_000, "; " * 30_000 + "x",
    ],
)  # fmt: skip
def test_text_made_to_hang_is_labelled_soon(ending, text):
    start = time.process_time()
    for other in {ending, "d", "pp", "v", "t", "cl", "fs", "sc", "cls"}:
        by_content(other, text)
    assert time.process_time() - start < 5.0  # a guard against hanging


def test_names_of_languages_reach_every_label():
    labels = {*LANGUAGE_OF_EXTENSION.values(), *LABELS}
    assert all(label in labels_named(label.upper()) for label in labels)
    assert labels_named("Objective-C") == labels_named("objc") == labels_named("Objective C") == {"objective-c"}
    assert labels_named("no such language") == {"no-such-language"}
