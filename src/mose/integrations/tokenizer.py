"""The tokenizer of a model folder as transformers expects one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.utils.hub import cached_file

from mose.model.transformers_config import MoseConfig
from mose.tokenizer import DEFAULT_LANGUAGE, CodeTokenizer, Kind
from mose.words import IDENTIFIER_JOINT

_HUB = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "_commit_hash")


class MoseTokenizer(PreTrainedTokenizerFast):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """Token ids inside the model's template, the same as those of ``mose.tokenizer.CodeTokenizer``.

    ``from_pretrained(folder, kind="query", language=None)`` chooses the template; that of code is the default. Special
    tokens spelled out in a text are plain text.
    """

    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012  # transformers declares it so

    @classmethod
    def from_pretrained(  # type: ignore[override, unused-ignore]
        cls,
        pretrained_model_name_or_path: str | Path,
        *_: Any,
        kind: Kind = "code",
        language: str | None = None,
        **kwargs: Any,
    ) -> MoseTokenizer:
        """The tokenizer of a model folder, or of a model on the hub.

        Args:
            pretrained_model_name_or_path: The folder, or ``owner/name``.
            kind: Template: "code" or "query".
            language: Programming language, for a template that names it.
            kwargs: Options of the hub; of the others, ``model_max_length`` counts.

        Raises:
            ModelError: The folder's tokenizer is missing or damaged.
        """
        hub = {name: kwargs[name] for name in _HUB if name in kwargs}
        settings = MoseConfig.from_pretrained(pretrained_model_name_or_path, **hub).settings.tokenizer_settings()
        file = str(cached_file(str(pretrained_model_name_or_path), "tokenizer.json", **hub))
        own = CodeTokenizer.build(file, settings)
        first, lead, last = own.template_parts(kind, language or DEFAULT_LANGUAGE)
        backend = Tokenizer.from_file(file)
        backend.no_padding()
        backend.no_truncation()
        if settings.split_identifiers or lead:
            # An empty text has no token to carry the lead.
            spaced = [normalizers.Replace(Regex(IDENTIFIER_JOINT), " ")] if settings.split_identifiers else []
            led = [normalizers.Prepend(lead)] if lead else []
            given = [backend.normalizer] if backend.normalizer is not None else []
            backend.normalizer = normalizers.Sequence([*spaced, *led, *given])
        backend.post_processor = _template(backend, first, last)
        found = cls(
            tokenizer_object=backend,
            cls_token=settings.cls_token,
            sep_token=settings.sep_token,
            pad_token=settings.pad_token,
            mask_token=settings.mask_token,
            padding_side=settings.padding_side,
            model_max_length=kwargs.get("model_max_length") or settings.max_tokens,
            split_special_tokens=True,
        )
        found.name_or_path = str(pretrained_model_name_or_path)
        return found


def _template(backend: Tokenizer, first: list[int], last: list[int]) -> processors.TemplateProcessing | None:
    """A post-processor that puts ids before and after a text; room is made for them when a text is cut."""
    around = {"first": first, "last": last}
    special = [
        {"id": name, "ids": ids, "tokens": [backend.id_to_token(token_id) for token_id in ids]}
        for name, ids in around.items()
        if ids
    ]
    if not special:
        return None
    single = [*(["first"] if first else []), "$A", *(["last"] if last else [])]
    return processors.TemplateProcessing(single=single, pair=None, special_tokens=special)
