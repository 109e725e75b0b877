"""File names, extensions, interpreters and aliases of languages."""

from __future__ import annotations


def word_set(words: str) -> frozenset[str]:
    """The words of a text, so that long tables stay readable.

    Example:
        >>> sorted(word_set("png jpg"))
        ['jpg', 'png']
    """
    return frozenset(words.split())


TEXT = "text"
"""Language of a text file whose kind is unknown."""

_EXTENSIONS = {
    "bash": "sh bash zsh ksh bats ebuild",
    "c": "c h inc",
    "csharp": "cs csx",
    "cpp": "cc cpp cxx c++ hh hpp hxx h++ ipp inl tpp cu cuh ino",
    "elixir": "ex exs",
    "go": "go",
    "haskell": "hs hs-boot",
    "java": "java",
    "javascript": "js jsx mjs cjs es6",
    "kotlin": "kt kts",
    "lua": "lua luau rockspec",
    "php": "php php3 php4 php5 phtml",
    "python": "py pyi pyw pyx pxd bzl bazel star",
    "ruby": "rb rake gemspec ru podspec jbuilder",
    "rust": "rs",
    "scala": "scala sc sbt",
    "swift": "swift",
    "typescript": "ts mts cts",
    "tsx": "tsx",
    "zig": "zig zon",
    # The languages below are split by lines or headings: no grammar is installed for them.
    "abap": "abap",
    "actionscript": "as",
    "apex": "cls trigger",
    "autohotkey": "ahk",
    "awk": "awk",
    "batch": "bat cmd",
    "bicep": "bicep",
    "bitbake": "bb bbappend bbclass",
    "chapel": "chpl",
    "cobol": "cob cbl cpy",
    "coq": "coq",
    "crystal": "cr",
    "cue": "cue",
    "dhall": "dhall",
    "elm": "elm",
    "fish": "fish",
    "forth": "fth 4th",
    "gdscript": "gd",
    "gleam": "gleam",
    "hack": "hack hhi",
    "haxe": "hx",
    "idris": "idr",
    "jsonnet": "jsonnet libsonnet",
    "just": "just",
    "lean": "lean",
    "llvm": "ll",
    "mojo": "mojo",
    "move": "move",
    "nushell": "nu",
    "odin": "odin",
    "opencl": "opencl",
    "openscad": "scad",
    "plsql": "pls plb pks pkb",
    "pug": "pug jade",
    "puppet": "pp",
    "purescript": "purs",
    "qmake": "pri prf",
    "qml": "qml",
    "raku": "raku rakumod rakutest p6 pm6",
    "reason": "re rei",
    "rego": "rego",
    "rescript": "res resi",
    "sas": "sas",
    "smalltalk": "st",
    "sml": "sml",
    "stan": "stan",
    "stata": "do ado",
    "supercollider": "scd",
    "tcl": "tcl tk itcl",
    "tla": "tla",
    "vala": "vala vapi",
    "webassembly": "wat wast",
    "xquery": "xq xql xqy xquery",
    "yang": "yang",
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
    "json": "json json5 jsonc webmanifest",
    "jupyter": "ipynb",
    "julia": "jl",
    "lisp": "el lisp cl lsp asd scm ss sld rkt",
    "make": "mk mak",
    "markdown": "md markdown mdx mdown rmd qmd",
    "matlab": "m",
    "nim": "nim nims",
    "nix": "nix",
    "objective-c": "mm pch",
    "ocaml": "ml mli mll mly",
    "org": "org",
    "pascal": "pas dpr lpr",
    "perl": "pl pm t pod",
    "powershell": "ps1 psm1 psd1",
    "prolog": "pro prolog plt",
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
_NAMES = {
    "make": "makefile gnumakefile",
    "cmake": "cmakelists.txt",
    "ruby": "rakefile gemfile podfile fastfile vagrantfile brewfile",
    "groovy": "jenkinsfile",
    "dockerfile": "dockerfile containerfile",
    "python": "build workspace sconstruct sconscript wscript snakefile tiltfile buck module.bazel",
    "bash": ".bashrc .bash_profile .bash_aliases .profile .zshrc .zprofile .zshenv pkgbuild",
    "vim": ".vimrc",
    "just": "justfile",
    "kconfig": "kconfig",
    "meson": "meson.build meson_options.txt",
}
_INTERPRETERS = {
    "python": "python pypy",
    "bash": "sh bash dash zsh ksh",
    "javascript": "node",
    "typescript": "deno bun ts-node",
    "ruby": "ruby",
    "php": "php php-cgi",
    "lua": "lua luajit",
    "perl": "perl",
    "elixir": "elixir",
    "haskell": "runhaskell",
    "scala": "scala",
    "swift": "swift",
    "kotlin": "kotlin",
    "r": "rscript",
    "julia": "julia",
    "awk": "awk gawk",
    "fish": "fish",
    "make": "make",
    "nushell": "nu",
    "powershell": "pwsh",
    "raku": "raku",
    "tcl": "tclsh",
    "prolog": "swipl",
    "lisp": "guile racket sbcl emacs",
    "groovy": "groovy",
    "clojure": "clojure bb",
    "crystal": "crystal",
    "ocaml": "ocaml",
    "rust": "rust-script",
    "applescript": "osascript",
}
_ALIASES = {
    "bash": "shell shell-script shellscript",
    "c": "ansi-c",
    "cpp": "c++ cplusplus",
    "csharp": "c# c-sharp dotnet",
    "dockerfile": "docker containerfile",
    "elixir": "phoenix",
    "fsharp": "f#",
    "go": "golang",
    "javascript": "node nodejs ecmascript",
    "lisp": "common-lisp commonlisp elisp emacs-lisp scheme racket",
    "make": "makefile gnumake",
    "matlab": "octave",
    "objective-c": "objc obj-c objectivec objective-c++ objc++ objective-cpp",
    "powershell": "pwsh",
    "protobuf": "protocol-buffers proto3",
    "python": "python3 python2 cython",
    "rst": "restructuredtext",
    "ruby": "rails",
    "rust": "rustlang",
    "terraform": "opentofu",
    "tex": "latex bibtex",
    "text": "plain plaintext",
    "tsx": "typescriptreact",
    "vim": "viml vimscript",
    "visual-basic": "visualbasic vb.net vba",
    "yaml": "yml",
}


def _by_word(table: dict[str, str]) -> dict[str, str]:
    """Each word of the table -> its language."""
    return {word: language for language, words in table.items() for word in words.split()}


LANGUAGE_OF_EXTENSION = _by_word(_EXTENSIONS)
LANGUAGE_OF_NAME = _by_word(_NAMES)
LANGUAGE_OF_INTERPRETER = _by_word(_INTERPRETERS)
LANGUAGE_OF_ALIAS = _by_word(_ALIASES)
LABELS_WITHIN = {"typescript": frozenset({"typescript", "tsx"})}
"""Labels that the name of a language stands for, where these are more than its own."""

BINARY_EXTENSIONS = word_set(
    """
    png jpg jpeg gif bmp ico icns webp avif heic tif tiff psd ai eps svgz xcf sketch fig mp3 mp4 m4a m4v wav
    ogg oga ogv flac aac avi mov mkv webm zip gz tgz bz2 tbz xz txz zst lz4 lzma br 7z rar tar jar war ear
    whl egg gem nupkg deb rpm apk aab ipa dmg iso cab crate so dylib dll exe a o obj lib pyc pyo pyd class
    dex wasm elf ko beam rlib rmeta bc node pdb ilk exp pdf doc docx xls xlsx ppt pptx odt ods odp epub mobi
    ttf otf woff woff2 eot pfb db sqlite sqlite3 mdb rdb ldb dat bin img npy npz h5 hdf5 parquet feather
    arrow avro orc pkl pickle joblib pt pth ckpt onnx safetensors gguf ggml tflite pb mlmodel caffemodel
    model p12 pfx jks keystore der cer crt gpg sig asc mo swp
    """
)
DATA_EXTENSIONS = word_set("csv tsv psv jsonl ndjson geojson topojson svg po pot arff vcf fasta snap")
