"""What a path says about a file: its language, and whether it is a test, vendored, generated or prose.

Only names are looked at here, so everything is cheap enough to run on every hit of a search.
"""

from __future__ import annotations

import re

TEXT = "text"
"""Language of a text file whose kind is unknown."""

_EXTENSIONS = {
    "bash": "sh bash zsh ksh bats ebuild",
    "c": "c h",
    "csharp": "cs csx",
    "cpp": "cc cpp cxx c++ hh hpp hxx h++ ipp inl tpp cu cuh ino",
    "elixir": "ex exs",
    "go": "go",
    "haskell": "hs hs-boot",
    "java": "java",
    "javascript": "js jsx mjs cjs es6",
    "kotlin": "kt kts",
    "lua": "lua luau rockspec",
    "php": "php php3 php4 php5 phtml inc",
    "python": "py pyi pyw pyx pxd bzl bazel star",
    "ruby": "rb rake gemspec ru podspec jbuilder",
    "rust": "rs",
    "scala": "scala sc sbt",
    "swift": "swift",
    "typescript": "ts mts cts",
    "tsx": "tsx",
    "zig": "zig zon",
    # Cut by lines or headings: no grammar is installed for these.
    "ada": "adb ads",
    "assembly": "asm s",
    "astro": "astro",
    "clojure": "clj cljs cljc edn",
    "cmake": "cmake",
    "coffeescript": "coffee",
    "css": "css scss sass less styl",
    "d": "d",
    "dart": "dart",
    "erlang": "erl hrl",
    "fortran": "f f90 f95 f03 for",
    "fsharp": "fs fsi fsx",
    "glsl": "glsl vert frag comp hlsl metal wgsl",
    "graphql": "graphql gql",
    "groovy": "groovy gradle",
    "html": "html htm xhtml jinja jinja2 j2 hbs ejs erb haml slim twig mustache liquid cshtml razor",
    "ini": "ini cfg conf properties editorconfig service",
    "json": "json json5 jsonc webmanifest ipynb",
    "julia": "jl",
    "lisp": "el lisp cl lsp scm ss rkt",
    "make": "mk mak",
    "markdown": "md markdown mdx mdown rmd qmd",
    "matlab": "m mm",
    "nim": "nim nims",
    "nix": "nix",
    "objective-c": "pch",
    "ocaml": "ml mli mll mly",
    "org": "org",
    "pascal": "pas pp dpr",
    "perl": "pl pm t pod",
    "powershell": "ps1 psm1 psd1",
    "prolog": "pro",
    "protobuf": "proto",
    "r": "r",
    "rst": "rst rest",
    "solidity": "sol",
    "sql": "sql ddl dml psql",
    "svelte": "svelte",
    "terraform": "tf tfvars hcl",
    "tex": "tex sty bib",
    "thrift": "thrift",
    "toml": "toml",
    "verilog": "v sv svh vh",
    "vhdl": "vhd vhdl",
    "vim": "vim",
    "visual-basic": "vb vbs bas",
    "vue": "vue",
    "xml": "xml xsd xsl xslt plist csproj vbproj fsproj props targets storyboard xib",
    "yaml": "yaml yml",
    TEXT: "txt text adoc asciidoc log diff patch textile wiki",
}
_LANGUAGE_OF_EXTENSION = {
    extension: language for language, extensions in _EXTENSIONS.items() for extension in extensions.split()
}
_LANGUAGE_OF_NAME = {
    "makefile": "make",
    "gnumakefile": "make",
    "cmakelists.txt": "cmake",
    "rakefile": "ruby",
    "gemfile": "ruby",
    "podfile": "ruby",
    "fastfile": "ruby",
    "vagrantfile": "ruby",
    "brewfile": "ruby",
    "jenkinsfile": "groovy",
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "build": "python",
    "workspace": "python",
    "sconstruct": "python",
    "sconscript": "python",
    "wscript": "python",
    ".bashrc": "bash",
    ".bash_profile": "bash",
    ".bash_aliases": "bash",
    ".profile": "bash",
    ".zshrc": "bash",
    ".zprofile": "bash",
    ".zshenv": "bash",
    ".vimrc": "vim",
    "pkgbuild": "bash",
}
_LANGUAGE_OF_INTERPRETER = {
    "python": "python",
    "pypy": "python",
    "sh": "bash",
    "bash": "bash",
    "dash": "bash",
    "zsh": "bash",
    "ksh": "bash",
    "node": "javascript",
    "deno": "typescript",
    "bun": "typescript",
    "ruby": "ruby",
    "php": "php",
    "lua": "lua",
    "luajit": "lua",
    "perl": "perl",
    "elixir": "elixir",
    "runhaskell": "haskell",
    "scala": "scala",
    "swift": "swift",
    "kotlin": "kotlin",
    "rscript": "r",
    "julia": "julia",
}

_BINARY_EXTENSIONS = frozenset(
    """
    png jpg jpeg gif bmp ico icns webp avif heic tif tiff psd ai eps svgz xcf sketch fig
    mp3 mp4 m4a m4v wav ogg oga ogv flac aac avi mov mkv webm
    zip gz tgz bz2 tbz xz txz zst lz4 lzma br 7z rar tar jar war ear whl egg gem nupkg deb rpm apk aab ipa dmg iso
    cab crate
    so dylib dll exe a o obj lib pyc pyo pyd class dex wasm elf ko beam rlib rmeta bc node pdb ilk exp
    pdf doc docx xls xlsx ppt pptx odt ods odp epub mobi
    ttf otf woff woff2 eot pfb
    db sqlite sqlite3 mdb rdb ldb dat bin img npy npz h5 hdf5 parquet feather arrow avro orc pkl pickle joblib
    pt pth ckpt onnx safetensors gguf ggml tflite pb mlmodel caffemodel model
    p12 pfx jks keystore der cer crt gpg sig asc mo swp
    """.split()
)
_DATA_EXTENSIONS = frozenset("csv tsv psv jsonl ndjson geojson topojson svg po pot arff vcf fasta snap".split())

_GENERATED_NAMES = frozenset(
    """
    package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb deno.lock poetry.lock uv.lock
    pdm.lock pipfile.lock conda-lock.yml cargo.lock go.sum go.work.sum composer.lock gemfile.lock podfile.lock
    package.resolved mix.lock flake.lock pubspec.lock gradle.lockfile packages.lock.json stack.yaml.lock
    cabal.project.freeze .terraform.lock.hcl chart.lock cartfile.resolved symfony.lock
    """.split()
)
_GENERATED = re.compile(
    r"""(?x)
      _pb2(_grpc)?\.pyi? $
    | \.pb\.(go|cc|h|rs|swift|validate\.go|gw\.go) $ | _pb\.(js|d\.ts|rb) $
    | [.-]min\.(js|mjs|cjs|css|html) $ | \.(js|css|mjs|cjs|ts)\.map $ | \.map $
    | \.(bundle|chunk)\.(js|css) $
    | \.g\.(dart|cs|i\.cs) $ | \.freezed\.dart $ | \.designer\.(cs|vb) $ | \.generated\.\w+ $ | [._-]generated\.go $
    | (^|/) zz_generated[^/]* $ | \.tsbuildinfo $ | \.snap $ | \.pbxproj $
    """
)
_VENDORED = re.compile(
    r"""(?x)
    (^|/) (
        vendor | vendors | vendored | _vendor | _vendored | third[_-]?party | thirdparty | 3rd[_-]?party | node_modules
      | bower_components | site-packages | dist-packages | externals? | deps | Godeps | Pods | Carthage | jspm_packages
      | extern | contrib/libs | subprojects
    ) /
    | (^|/) (jquery | bootstrap | modernizr | require | lodash | d3 ) (-[\d.]+)? (\.slim|\.bundle)? \.(js|css) $
    """
)
_TEST = re.compile(
    r"""(?x)
    (^|/) (tests? | testing | __tests__ | __mocks__ | specs? | testdata | test[_-]data | testsuite | e2e | fixtures?
         | conformance | [\w.-]+[._-]tests? | [a-z]*Tests? | androidTest | commonTest | unit[_-]tests? | cypress ) /
    | (^|/) (tests?_[^/]* | conftest | tests?) \.\w+ $
    | [^/]+ [._-] (tests? | spec | e2e | cy | bench) \.\w+ $
    | [^/]* [a-z\d] (Tests? | TestCase | Spec | Specs | IT) \.(java|kt|kts|scala|cs|swift|php|groovy|hs|cpp|cc|m|vb|fs) $
    | (^|/) Tests?[A-Z]\w* \.(java|kt|cs|swift|php|scala) $
    | \.bats $
    """
)
_EXAMPLE = re.compile(
    r"""(?x)
    (^|/) (examples? | samples? | demos? | tutorials? | playgrounds? | snippets | cookbook | docs?_src | quickstarts?
         | _examples | benchmarks? | benches ) /
    | (^|/) (example | sample | demo) s? ([._-][^/]*)? \.\w+ $ | [._-](example|sample|demo) \.\w+ $
    """
)
_DOCUMENTATION_LANGUAGES = frozenset({"markdown", "rst", "org", "tex", TEXT})
_DOCUMENTATION = re.compile(
    r"(?i)(^|/)(docs?|documentation|manual|man|wiki|website)/.*"
    r"|(^|/)(readme|changelog|changes|history|news|contributing|license|licence|copying|notice|authors|security"
    r"|code_of_conduct|todo|upgrading)[^/]*$"
)


def language_of(path: str) -> str:
    """Language of a file by its name, ``"text"`` if the name says nothing.

    Example:
        >>> language_of("src/app.py"), language_of("Makefile"), language_of("notes")
        ('python', 'make', 'text')
    """
    name = path.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    if dot and stem:
        found = _LANGUAGE_OF_EXTENSION.get(extension) or _LANGUAGE_OF_EXTENSION.get(extension.lower())
        if found is not None and not (found == TEXT and name.lower() in _LANGUAGE_OF_NAME):
            return found
    lower = name.lower()
    found = _LANGUAGE_OF_NAME.get(lower)
    if found is None and dot:
        found = _LANGUAGE_OF_NAME.get(lower.partition(".")[0])  # Dockerfile.dev, Makefile.am
    return found or TEXT


def language_of_shebang(line: str) -> str | None:
    """Language named by the first line of a script, None if there is none.

    Example:
        >>> language_of_shebang("#!/usr/bin/env -S python3 -u")
        'python'
    """
    if not line.startswith("#!"):
        return None
    for word in line[2:].split():
        command = word.rpartition("/")[2]
        if command == "env" or word.startswith("-") or "=" in word:
            continue
        return _LANGUAGE_OF_INTERPRETER.get(command.rstrip("0123456789.").lower())
    return None


def extension_of(path: str) -> str:
    """Lower-case extension without the dot, "" if there is none.

    Example:
        >>> extension_of("a/archive.tar.GZ"), extension_of(".bashrc")
        ('gz', '')
    """
    stem, dot, extension = path.rpartition("/")[2].rpartition(".")
    return extension.lower() if dot and stem else ""


def is_binary(path: str) -> bool:
    """True for extensions of files that are never text.

    Example:
        >>> is_binary("logo.png"), is_binary("logo.py")
        (True, False)
    """
    return extension_of(path) in _BINARY_EXTENSIONS


def is_data(path: str) -> bool:
    """True for tables, message catalogues and drawings: text, but nothing to search for by meaning.

    Example:
        >>> is_data("rows.csv"), is_data("settings.json")
        (True, False)
    """
    return extension_of(path) in _DATA_EXTENSIONS


def is_generated(path: str) -> bool:
    """True if the name is one that tools write: lock files, protocol buffers, minified code, source maps.

    Example:
        >>> is_generated("api/user_pb2.py"), is_generated("web/yarn.lock"), is_generated("lock.py")
        (True, True, False)
    """
    return path.rpartition("/")[2].lower() in _GENERATED_NAMES or _GENERATED.search(path) is not None


def is_vendored(path: str) -> bool:
    """True if the path lies in a folder that holds other people's code.

    Example:
        >>> is_vendored("pip/_vendor/idna/core.py"), is_vendored("shop/vendor.py")
        (True, False)
    """
    return _VENDORED.search(path) is not None


def is_test(path: str) -> bool:
    """True if the path is that of a test, a test helper or a fixture.

    Example:
        >>> is_test("tests/a.py"), is_test("pkg/url_test.go"), is_test("src/UserTest.java"), is_test("latest.py")
        (True, True, True, False)
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
    """True for prose: by language, by name (README, CHANGES, LICENSE), or by folder.

    Example:
        >>> is_documentation("README"), is_documentation("docs/conf.py"), is_documentation("src/docs.py")
        (True, True, False)
    """
    return language_of(path) in _DOCUMENTATION_LANGUAGES or _DOCUMENTATION.search(path) is not None
