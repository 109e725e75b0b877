"""Token ids of queries and code: templates, special tokens, truncation, padding.

What a template puts before and after ``{text}`` survives truncation, so that the token a model pools on
(the final CLS, say) is never lost. Reads ``tokenizer.json`` and the template keys of the JSON file beside it,
without torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mose.errors import ConfigError, ModelError
from mose.json_reading import read_json
from mose.words import space_identifiers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

Kind = Literal["query", "code"]
PaddingSide = Literal["left", "right"]
KINDS: tuple[Kind, ...] = ("query", "code")
DEFAULT_LANGUAGE = "source"
SETTINGS_FILES = ("config.json", "mose.json")
_AGAIN = "Copy or make the folder again."
_MARKER = re.compile(r"\{(\w+)\}")
_MARKERS = ("cls", "sep", "text", "language")
_CACHED_WORDS = 500_000
_LARGEST_FILE_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """The keys of a model's config that say how a text becomes token ids."""

    query_template: str
    """Literal text and the markers {cls} {sep} {text} {language} around a query."""
    code_template: str
    """The same around a piece of code."""
    cls_token: str
    sep_token: str
    pad_token: str
    mask_token: str | None
    """Special tokens as written in tokenizer.json. The mask is needed for pre-training alone."""
    padding_side: PaddingSide
    max_tokens: int
    """Longest sequence, template included; longer texts lose their end."""
    split_identifiers: bool = False
    """Put spaces between the words of an identifier before the sub-word tokenizer sees it."""

    def __post_init__(self) -> None:
        for name in ("query_template", "code_template", "cls_token", "sep_token", "pad_token"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(name, got=getattr(self, name), allowed="text")
        if not isinstance(self.mask_token, str | None):
            raise ConfigError("mask_token", got=self.mask_token, allowed="text, or null")
        for name in ("query_template", "code_template"):
            _check_template(name, getattr(self, name))
        if self.padding_side not in ("left", "right"):
            raise ConfigError("padding_side", got=self.padding_side, allowed="left, right")
        if type(self.max_tokens) is not int or self.max_tokens < 1:
            raise ConfigError("max_tokens", got=self.max_tokens, allowed="1 or more")

    @classmethod
    def read(cls, settings: Mapping[str, Any], *, where: str) -> TokenizerSettings:
        """The tokenizer's keys of a larger mapping.

        Raises:
            ModelError: A key is missing; ``where`` names the file.
        """
        missing = [field.name for field in fields(cls) if field.name not in settings and field.default is MISSING]
        if missing:
            raise ModelError(f"{where} has no {', '.join(missing)}", remedy="Convert or export the model again.")
        return cls(**{field.name: settings[field.name] for field in fields(cls) if field.name in settings})


class CodeTokenizer:
    """Texts to token ids, by the templates of one model.

    Args:
        tokenizer: A ``tokenizers.Tokenizer``; its own padding, truncation and template are switched off.
        settings: Templates, special tokens, padding side and default length.

    Raises:
        ModelError: A special token is not in the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, settings: TokenizerSettings) -> None:
        self._tokenizer = plain_tokenizer(tokenizer)
        self._word_ids: dict[str, list[int]] = {}
        self.settings = settings
        self.cls_id = self._special("cls_token", settings.cls_token)
        self.sep_id = self._special("sep_token", settings.sep_token)
        self.pad_id = self._special("pad_token", settings.pad_token)
        mask = settings.mask_token
        self.mask_id = None if mask is None else self._special("mask_token", mask)
        self.padding_side: PaddingSide = settings.padding_side
        self.max_tokens = settings.max_tokens

    @classmethod
    def load(cls, folder: str | Path) -> CodeTokenizer:
        """The tokenizer of a model folder (``config.json``) or of a runtime folder (``mose.json``).

        Raises:
            ModelError: A file is missing or damaged, or a special token is unknown.
        """
        folder = Path(folder)
        for name in SETTINGS_FILES:
            if (folder / name).is_file():
                return cls.build(folder / "tokenizer.json", _read_settings(folder / name))
        what = f"{folder} is not a model folder: it has neither {' nor '.join(SETTINGS_FILES)}"
        raise ModelError(what, remedy="Name a folder that `mose convert`, `mose export` or a training wrote.")

    @classmethod
    def build(cls, tokenizer_file: str | Path, settings: TokenizerSettings) -> CodeTokenizer:
        """The tokenizer of one ``tokenizer.json``.

        Raises:
            ModelError: The file is missing or damaged, or a special token is unknown.
        """
        return cls(read_tokenizer(tokenizer_file), settings)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def special_ids(self) -> list[int]:
        """Ids of all special tokens, those that no template uses included."""
        added = self._tokenizer.get_added_tokens_decoder()
        special = {token_id for token_id, token in added.items() if token.special}
        named = (self.cls_id, self.sep_id, self.pad_id, self.mask_id)
        return sorted(special.union(token_id for token_id in named if token_id is not None))

    def encode(
        self,
        texts: Sequence[str],
        *,
        kind: Kind,
        language: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
    ) -> list[list[int]]:
        """Token ids of each text inside its template, special tokens included, at most ``max_tokens`` long.

        Args:
            texts: Queries or pieces of code.
            kind: Which template: "query" or "code".
            language: One language for all texts, or one for each; "source" if None.
            max_tokens: Longest sequence; the model's default if None.

        Returns:
            One list of ids for each text, without padding.

        Raises:
            ConfigError: An unknown kind, a length that the template alone fills, or too few languages.

        Example:
            >>> tokenizer = CodeTokenizer.load("model")                       # doctest: +SKIP
            >>> tokenizer.encode(["open a proxy"], kind="query")              # doctest: +SKIP
            [[101, 2330, 1037, 24540, 102]]
        """
        if kind not in KINDS:
            raise ConfigError("kind", got=kind, allowed=", ".join(KINDS))
        template = self.settings.query_template if kind == "query" else self.settings.code_template
        before, after = template.split("{text}")
        limit = self.max_tokens if max_tokens is None else max_tokens
        if "{language}" not in template:
            return self._encode(texts, before, after, limit)
        shared = language is None or isinstance(language, str)
        languages = [str(language or DEFAULT_LANGUAGE)] * len(texts) if shared else list(language or ())
        if len(languages) != len(texts):
            raise ConfigError("languages", got=len(languages), allowed=f"one, or one for each of {len(texts)} texts")
        encoded: dict[int, list[int]] = {}
        for name in dict.fromkeys(languages):
            rows = [row for row, other in enumerate(languages) if other == name]
            left, right = (side.replace("{language}", name.lower()) for side in (before, after))
            encoded.update(zip(rows, self._encode([texts[row] for row in rows], left, right, limit), strict=True))
        return [encoded[row] for row in range(len(texts))]

    def word_ids(self, words: Sequence[str]) -> list[list[int]]:
        """Token ids of single words, without template or special tokens: what exit 0 looks up."""
        encodings = self._tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def kept_word_ids(self, words: Sequence[str]) -> list[list[int]]:
        """As `word_ids`, kept for the next call: the batches of a training hold the same words again and again."""
        known = self._word_ids
        fresh = [word for word in dict.fromkeys(words) if word not in known]
        if fresh:
            if len(known) + len(fresh) > _CACHED_WORDS:
                known = self._word_ids = {}
                fresh = list(dict.fromkeys(words))
            known.update(zip(fresh, self.word_ids(fresh), strict=True))
        return [known[word] for word in words]

    def _spaced(self, text: str) -> str:
        return space_identifiers(text) if self.settings.split_identifiers else text

    def plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of whole texts, without template or special tokens, however long."""
        encodings = self._tokenizer.encode_batch_fast([self._spaced(text) for text in texts], add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _encode(self, texts: Sequence[str], before: str, after: str, limit: int) -> list[list[int]]:
        first, lead, last = self._parts(before, after)
        room = limit - len(first) - len(last)
        if room < 1:
            template_tokens = len(first) + len(last)
            raise ConfigError("max_tokens", got=limit, allowed=f"more than the template's {template_tokens}")
        encodings = self._tokenizer.encode_batch_fast(
            [lead + self._spaced(text) for text in texts], add_special_tokens=False
        )
        return [first + encoding.ids[:room] + last for encoding in encodings]

    def template_parts(self, kind: Kind, language: str = DEFAULT_LANGUAGE) -> tuple[list[int], str, list[int]]:
        """What the template of a kind puts around a text: token ids before it, text tokenised with it, ids after it."""
        template = self.settings.query_template if kind == "query" else self.settings.code_template
        before, after = template.replace("{language}", language.lower()).split("{text}")
        return self._parts(before, after)

    def _parts(self, before: str, after: str) -> tuple[list[int], str, list[int]]:
        # Literal text that touches {text} is tokenised with it, as a model trained on "query: ..." expects.
        end = before.rfind("}") + 1
        return self.literal_ids(before[:end]), before[end:], self.literal_ids(after)

    def literal_ids(self, template: str) -> list[int]:
        """Token ids of literal text and the markers {cls} and {sep}."""
        ids: list[int] = []
        for index, piece in enumerate(_MARKER.split(template)):
            if index % 2 == 1:
                ids.append(self.cls_id if piece == "cls" else self.sep_id)
            elif piece:
                ids.extend(self._tokenizer.encode(piece, add_special_tokens=False).ids)
        return ids

    def _special(self, key: str, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise ModelError(f"{key} is not in tokenizer.json", got=token, remedy="Correct config.json.")
        return int(token_id)


def read_tokenizer(file: str | Path) -> Tokenizer:
    """The tokenizer of one ``tokenizer.json``, without padding, truncation or a template of its own.

    Raises:
        ModelError: The file is missing or damaged.
    """
    from tokenizers import Tokenizer

    if not Path(file).is_file():
        raise ModelError(f"{file} is missing", remedy=_AGAIN)
    size = Path(file).stat().st_size
    if size > _LARGEST_FILE_BYTES:
        raise ModelError(f"size of {file}", got=size, allowed=f"up to {_LARGEST_FILE_BYTES:,} bytes")
    try:
        return plain_tokenizer(Tokenizer.from_file(str(file)))
    except BaseException as error:
        # The library raises the plain class for a damaged file, and panics on some.
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{file} is damaged ({error})", remedy=_AGAIN) from error


def plain_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, changed: without padding, truncation and special tokens that a text could spell."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # A text that contains "[SEP]" must not be able to forge a special token.
    tokenizer.encode_special_tokens = True
    return tokenizer


def pad_batch(
    ids: Sequence[Sequence[int]], *, pad_id: int, side: PaddingSide
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Token ids of one batch as a rectangle, and which of them are real.

    Returns:
        token_ids_BT (int64) and keep_BT (bool, False for padding).

    Example:
        >>> token_ids, keep = pad_batch([[5, 6], [7]], pad_id=0, side="left")
        >>> token_ids.tolist(), keep.tolist()
        ([[5, 6], [0, 7]], [[True, True], [False, True]])
    """
    longest = max((len(row) for row in ids), default=0)
    token_ids = np.full((len(ids), longest), pad_id, dtype=np.int64)
    keep = np.zeros((len(ids), longest), dtype=np.bool_)
    for index, row in enumerate(ids):
        columns = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        token_ids[index, columns] = row
        keep[index, columns] = True
    return token_ids, keep


def _read_settings(file: Path) -> TokenizerSettings:
    try:
        values = read_json(file)
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} is damaged ({error})", remedy=_AGAIN) from error
    return TokenizerSettings.read(values, where=str(file))


def _check_template(name: str, template: str) -> None:
    markers = _MARKER.findall(template)
    known = all(marker in _MARKERS for marker in markers)
    if not known or markers.count("text") != 1 or re.search("[{}]", _MARKER.sub("", template)):
        allowed = "literal text, {cls}, {sep}, {language}, and {text} once"
        raise ConfigError(name, got=template, allowed=allowed)
