"""Exit 0 of a converted encoder: the encoder's output for each token alone, as a table.

The recipe of model2vec (Minish Lab), changed for code: every token passes through the encoder once;
principal components keep the directions in which used tokens vary, scaled towards equal variance; frequent tokens
weigh little (SIF: Arora et al., 2017), where a token is frequent in language, by its rank in the vocabulary
(Zipf's law), and in code, counted in a sample.
Shapes: V vocabulary, D width of the encoder, W width of the table.
"""

from __future__ import annotations

import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mose.errors import ConfigError
from mose.model.encoder import MoseModel
from mose.model.heads import pool
from mose.progress import Progress, ProgressCallback, no_progress
from mose.tokenizer import CodeTokenizer
from mose.words import split_words


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecipe:
    """Settings of exit 0; the defaults were chosen on validation splits."""

    width: int = 256
    """Principal components kept, in descending order of variance."""
    whitening: float = 0.5
    """Power of its standard deviation that each component is divided by: 0 to 1 (equal variance)."""
    smoothing: float = 2e-4
    """A token of frequency f weighs ``smoothing / (smoothing + f)``."""
    code_share: float = 0.6
    """Share of code in the (geometric) mean of a token's frequencies in code and in language."""
    batch_tokens: int = 1024
    """Vocabulary entries in one pass of the encoder."""


@torch.no_grad()
def fill_table(
    model: MoseModel,
    tokenizer: CodeTokenizer,
    recipe: TableRecipe,
    *,
    code_sample: Iterable[str] | None = None,
    progress: ProgressCallback = no_progress,
) -> None:
    """Fill the model's token table from its deepest exit, in place.

    Args:
        model: A model with exit 0.
        tokenizer: Tokenizer of the model.
        recipe: Settings of the table.
        code_sample: Files of source code to count words in; Python's standard library if None.
        progress: Called with the tokens done so far.

    Raises:
        ConfigError: The recipe's width is not the table's, or more than the encoder has.
    """
    settings = model.settings
    if model.table is None or recipe.width != settings.table_width or recipe.width > settings.hidden_size:
        allowed = f"the table's {settings.table_width}, at most the encoder's {settings.hidden_size}"
        raise ConfigError("table width", got=recipe.width, allowed=allowed)
    frequency_V = token_frequencies(tokenizer, settings.vocab_size, recipe, code_sample=code_sample)
    frequency_V[torch.tensor(tokenizer.special_ids())] = 0.0
    outputs_VD = token_outputs(model, tokenizer, batch_tokens=recipe.batch_tokens, progress=progress)
    vectors_VW = principal_components(outputs_VD, frequency_V.sqrt(), recipe.width, whitening=recipe.whitening)
    weights_V = torch.where(frequency_V > 0, recipe.smoothing / (recipe.smoothing + frequency_V), 0.0)
    model.table.vectors.copy_(vectors_VW)
    model.table.token_weights.copy_(weights_V)


@torch.no_grad()
def token_outputs(
    model: MoseModel,
    tokenizer: CodeTokenizer,
    *,
    batch_tokens: int,
    progress: ProgressCallback = no_progress,
) -> Tensor:
    """Pooled output of the deepest exit, without head, for each token in the query template [V,D]."""
    settings = model.settings
    start, lead, end = tokenizer.template_parts("query")
    before, after = (torch.tensor(ids, dtype=torch.int64) for ids in (start + tokenizer.literal_ids(lead), end))
    rows: list[Tensor] = []
    for first in range(0, settings.vocab_size, batch_tokens):
        ids_B1 = torch.arange(first, min(first + batch_tokens, settings.vocab_size))[:, None]
        size = len(ids_B1)
        token_ids_BT = torch.cat((before.expand(size, -1), ids_B1, after.expand(size, -1)), dim=1)
        keep_BT = torch.ones_like(token_ids_BT, dtype=torch.bool)
        hidden = model(token_ids_BT, keep_BT, exits=[settings.num_layers])[settings.num_layers]
        rows.append(pool(hidden, keep_BT, settings.pooling).float())
        progress(Progress("token table", first + size, settings.vocab_size))
    return torch.cat(rows)


def principal_components(rows_VD: Tensor, importance_V: Tensor, width: int, *, whitening: float) -> Tensor:
    """Centred rows in their ``width`` principal directions, the largest variance first [V,W].

    Args:
        rows_VD: Rows to project.
        importance_V: Weight of each row in the mean and the covariance, 0 or more.
        width: Number of directions kept.
        whitening: Power of the standard deviation that each component is divided by.
    """
    share_V1 = (importance_V / importance_V.sum()).double()[:, None]
    centred_VD = rows_VD.double() - (share_V1 * rows_VD.double()).sum(dim=0)
    variances, directions_DD = torch.linalg.eigh((share_V1 * centred_VD).T @ centred_VD)
    order = variances.argsort(descending=True)[:width]
    leading_DW = directions_DD[:, order]
    # The sign of an eigenvector is arbitrary; fix it, so that two runs agree.
    leading_DW = leading_DW * leading_DW.gather(0, leading_DW.abs().argmax(dim=0, keepdim=True)).sign()
    smallest = torch.finfo(torch.float32).eps * variances.max()
    deviations_W = (variances[order].clamp(min=smallest) / variances.max()).sqrt()
    components_VW: Tensor = centred_VD @ leading_DW / deviations_W**whitening
    return components_VW.float()


def token_frequencies(
    tokenizer: CodeTokenizer,
    vocab_size: int,
    recipe: TableRecipe,
    *,
    code_sample: Iterable[str] | None = None,
) -> Tensor:
    """Frequency of each token [V], a mean of code and natural language that does not sum to 1."""
    in_language_V = 1.0 / torch.arange(2, vocab_size + 2, dtype=torch.float64)
    in_language_V /= in_language_V.sum()
    words = Counter(
        word for text in (standard_library() if code_sample is None else code_sample) for word in split_words(text)
    )
    in_code_V = torch.ones(vocab_size, dtype=torch.float64)  # no token may have frequency 0
    for ids, times in zip(tokenizer.word_ids(list(words)), words.values(), strict=True):
        for token_id in ids:
            in_code_V[token_id] += times
    in_code_V /= in_code_V.sum()
    return in_code_V**recipe.code_share * in_language_V ** (1 - recipe.code_share)


def standard_library() -> Iterator[str]:
    """Source files of the running Python's standard library, without tests."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(root.rglob("*.py")):
        inside = file.relative_to(root).parts
        if not {"site-packages", "dist-packages", "test", "tests", "idlelib"} & set(inside):
            yield file.read_text(encoding="utf-8", errors="replace")
