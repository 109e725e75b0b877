"""What a path says about a file: its language, and whether it is a test, vendored, generated or prose.

Nearly everything looks at names only, and is cheap enough to run on every hit of a search; what the text says
of the language is asked once, when a file is read (`label_of`).
"""

from __future__ import annotations

import re

from mose.languages import content
from mose.languages.tables import (
    BINARY_EXTENSIONS,
    DATA_EXTENSIONS,
    LABELS_WITHIN,
    LANGUAGE_OF_ALIAS,
    LANGUAGE_OF_EXTENSION,
    LANGUAGE_OF_NAME,
    TEXT,
    word_set,
)

_LABELS = frozenset(LANGUAGE_OF_EXTENSION.values()) | frozenset(LANGUAGE_OF_NAME.values()) | content.LABELS
_NO_SOURCE = BINARY_EXTENSIONS | DATA_EXTENSIONS
_GENERATED_NAMES = word_set(
    """
    package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb deno.lock poetry.lock
    uv.lock pdm.lock pipfile.lock conda-lock.yml cargo.lock go.sum go.work.sum composer.lock gemfile.lock
    podfile.lock package.resolved mix.lock flake.lock pubspec.lock gradle.lockfile packages.lock.json
    stack.yaml.lock cabal.project.freeze .terraform.lock.hcl chart.lock cartfile.resolved symfony.lock
    """
)
_GENERATED = re.compile(  # begins with one set of signs, so that names without these endings take no time
    r"""(?x)
    [._-] (
        (?<=_) ( pb2(_grpc)?\.pyi? | pb\.(js|d\.ts|rb) )
      | (?<=[.-]) min\.(js|mjs|cjs|css|html)
      | (?<=\.) (
            pb\.(go|cc|h|rs|swift|validate\.go|gw\.go) | map | (bundle|chunk)\.(js|css)
          | g\.(dart|cs|i\.cs) | freezed\.dart | designer\.(cs|vb) | generated\.\w+ | tsbuildinfo | snap | pbxproj
        )
      | generated\.go
    ) $
    """
)
_VENDORED = re.compile(
    r"""(?x)
    (^|/) (
        vendor | vendored | _vendor | _vendored | third[_-]?party | 3rd[_-]?party
      | node_modules | bower_components | jspm_packages | site-packages | dist-packages
      | externals? | extern | deps | Godeps | Pods | Carthage | contrib/libs | subprojects
    ) /
    | (^|/) (jquery | bootstrap | modernizr | require | lodash | d3 )
      (-[\d.]+)? (\.slim|\.bundle)? \.(js|css) $
    """
)
_TEST = re.compile(
    r"""(?x)
    (^|/) (
        tests? | testing | __tests__ | __mocks__ | specs? | testdata | test[_-]data | testsuite | e2e
      | fixtures? | conformance | [\w.-]+[._-]tests? | [a-z]*Tests? | androidTest | commonTest | cypress
    ) /
    | (^|/) tests?_[^/]* \.(py|pyi|pyx|rb|c|cc|cpp|cxx|h|hpp|m|mm|lua|zig|d|nim|jl|r|R|f90|ml|pl|el|erl|cr|gd) $
    | (^|/) (conftest | tests?) \.\w+ $
    | [._-] (tests? | spec | e2e | cy | bench) \.\w+ $
    | [a-z\d] (Tests? | TestCase | Specs? | IT) \.(java|kt|kts|scala|cs|swift|php|groovy|hs|cpp|cc|m|vb|fs) $
    | (^|/) Tests?[A-Z]\w* \.(java|kt|cs|swift|php|scala) $
    | \.bats $
    """
)
_EXAMPLE = re.compile(
    r"""(?x)
    (^|/) (
        examples? | _examples | samples? | demos? | tutorials? | playgrounds? | snippets | cookbook
      | docs?_src | quickstarts? | benchmarks? | benches
    ) /
    | (^|/) (example | sample | demo) s? \.\w+ $ | (^|/) (example | demo) s? [._-][^/]* \.\w+ $
    | [._-] (example | sample | demo) \.\w+ $
    """
)
_DOCUMENTATION_LANGUAGES = frozenset({"markdown", "rst", "org", "tex"})
_PROSE_EXTENSIONS = word_set("txt text adoc asciidoc log diff patch textile wiki")
_DOCUMENTATION_FOLDER = re.compile(r"(?i)^(docs|documentation|wiki)/|(^|/)man/[^/]+\.\d\w*$")
_DOCUMENTATION_NAME = re.compile(
    r"(?i)(^|/)(readme|change-?log|changes|history|news|contributing|licen[cs]es?|copying|notice|authors|security"
    r"|code_of_conduct|todo|upgrading)([._-][^/]*)?$"
)


def language_of(path: str) -> str:
    """Language of a file by its name, ``"text"`` if the name does not tell.

    Example:
        >>> language_of("src/app.py"), language_of("Makefile"), language_of("notes")
        ('python', 'make', 'text')
    """
    name = path.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    if dot and stem:
        found = LANGUAGE_OF_EXTENSION.get(extension) or LANGUAGE_OF_EXTENSION.get(extension.lower())
        if found is not None and not (found == TEXT and name.lower() in LANGUAGE_OF_NAME):
            return found
    lower = name.lower()
    found = LANGUAGE_OF_NAME.get(lower)
    if found is None and dot:
        found = LANGUAGE_OF_NAME.get(lower.partition(".")[0])  # Dockerfile.dev, Makefile.am
    return found or TEXT


def label_of(path: str, text: str) -> str:
    r"""Language of a file by its name and, where the name leaves a choice, by its text.

    Example:
        >>> label_of("a.m", "#import <Foundation/Foundation.h>\n"), label_of("a.m", "function y = f(x)\n")
        ('objective-c', 'matlab')
        >>> label_of("bin/run", "#!/usr/bin/env python3\n")
        'python'
    """
    by_name, extension = language_of(path), extension_of(path)
    if by_name == TEXT and extension not in LANGUAGE_OF_EXTENSION:
        return content.of_shebang(text[:200].partition("\n")[0]) or by_name
    return content.by_content(extension, text) or by_name


def may_be(path: str, by_name: str, label: str) -> bool:
    """Whether a file with such a name may have got a label from its content.

    Example:
        >>> may_be("a.m", "matlab", "objective-c"), may_be("a.py", "python", "objective-c")
        (True, False)
    """
    return label == by_name or label in content.candidates(extension_of(path))


def labels_named(name: str) -> frozenset[str]:
    """Labels that match the name of a language: a label, an alias or an extension, in any case.

    Example:
        >>> sorted(labels_named("TypeScript")), sorted(labels_named("C++")), sorted(labels_named("py"))
        (['tsx', 'typescript'], ['cpp'], ['python'])
    """
    label = "-".join(name.lower().removeprefix(".").replace("_", " ").split())
    if label not in _LABELS:
        label = LANGUAGE_OF_ALIAS.get(label) or LANGUAGE_OF_EXTENSION.get(label) or label
    return LABELS_WITHIN.get(label) or frozenset({label})


def extension_of(path: str) -> str:
    """Lower-case extension without the dot, "" if there is none.

    Example:
        >>> extension_of("a/archive.tar.GZ"), extension_of(".bashrc")
        ('gz', '')
    """
    stem, dot, extension = path.rpartition("/")[2].rpartition(".")
    return extension.lower() if dot and stem else ""


def is_binary_or_data(path: str) -> bool:
    """True for files that are never text, and for tables, message catalogues and drawings.

    Example:
        >>> is_binary_or_data("a.png"), is_binary_or_data("a.csv"), is_binary_or_data("a.py")
        (True, True, False)
    """
    return extension_of(path) in _NO_SOURCE


def is_binary(path: str) -> bool:
    """True for extensions of files that are never text.

    Example:
        >>> is_binary("logo.png"), is_binary("logo.py")
        (True, False)
    """
    return extension_of(path) in BINARY_EXTENSIONS


def is_generated(path: str) -> bool:
    """True if the name is one that tools write: lock files, protocol buffers, minified code, source maps.

    Example:
        >>> is_generated("api/user_pb2.py"), is_generated("web/yarn.lock"), is_generated("lock.py")
        (True, True, False)
    """
    name = path.rpartition("/")[2].lower()
    return name in _GENERATED_NAMES or name.startswith("zz_generated") or _GENERATED.search(name) is not None


def is_vendored(path: str) -> bool:
    """True if the path is in a folder of third-party code.

    Example:
        >>> is_vendored("pip/_vendor/idna/core.py"), is_vendored("shop/vendor.py")
        (True, False)
    """
    return _VENDORED.search(path) is not None


def is_test(path: str) -> bool:
    """True if the path is that of a test, a test helper or a fixture.

    Example:
        >>> [is_test(path) for path in ("tests/a.py", "pkg/url_test.go", "src/UserTest.java", "latest.py")]
        [True, True, True, False]
    """
    return _TEST.search(path) is not None


def is_example(path: str) -> bool:
    """True if the path is that of an example, a demo or a benchmark.

    Example:
        >>> is_example("examples/basic.py"), is_example("src/sampler.py")
        (True, False)
    """
    return _EXAMPLE.search(path) is not None


def is_documentation(path: str) -> bool:
    """True for prose: by extension, by name if the extension does not tell, or by folder.

    Example:
        >>> is_documentation("README"), is_documentation("docs/conf.py"), is_documentation("src/docs.py")
        (True, True, False)
        >>> is_documentation("src/security.py"), is_documentation("game/player.gd")
        (False, False)
    """
    language = language_of(path)
    if language in _DOCUMENTATION_LANGUAGES or _DOCUMENTATION_FOLDER.search(path) is not None:
        return True
    if language != TEXT:
        return False
    extension = extension_of(path)
    return not extension or extension in _PROSE_EXTENSIONS or _DOCUMENTATION_NAME.search(path) is not None
