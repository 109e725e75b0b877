"""File names, extensions and interpreters of the languages we know."""

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
LANGUAGE_OF_EXTENSION = {
    extension: language for language, extensions in _EXTENSIONS.items() for extension in extensions.split()
}
LANGUAGE_OF_NAME = {
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
LANGUAGE_OF_INTERPRETER = {
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
LANGUAGE_OF_ALIAS = {alias: language for language, aliases in _ALIASES.items() for alias in aliases.split()}
LABELS_WITHIN = {"typescript": frozenset({"typescript", "tsx"})}
"""What the name of a language means where it is more than the label of that name."""

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
