"""Train a tokenizer of StarCoder 2's kind: byte-level BPE, digits one by one, nothing normalised, so nothing is lost.

Id 0 is ``<|endoftext|>``, which also pads; mask, separator and classification tokens are added after the vocabulary, as
in the released model (their spelling and order are a guess: mose-spec, section 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mose.data.corpus.build import build_corpus
from mose.data.corpus.settings import BuildSettings
from mose.data.corpus.shards import TOKENIZER, open_shards
from mose.data.corpus.stored import is_stored
from mose.errors import require
from mose.parallel import RunEach, run_each
from mose.progress import Progress, ProgressCallback, no_progress
from mose.storage import new_folder, write_json

END = "<|endoftext|>"
ADDED = {"cls_token": "<cls>", "sep_token": "<sep>", "mask_token": "<mask>"}
_ALPHABET = 256


def train_tokenizer(
    sources: Sequence[str | Path],
    out: Path,
    *,
    size: int = 49_152,
    settings: BuildSettings | None = None,
    workers: int = 1,
    each: RunEach = run_each,
    progress: ProgressCallback = no_progress,
) -> int:
    """Write the folder of a tokenizer that is trained on a corpus of text, or on what one of the sources would hold.

    The same texts give the same tokenizer.

    Args:
        sources: One corpus built without a tokenizer, or sources as for ``build_corpus``.
        out: Folder to write.
        size: Tokens, the three added ones not counted.
        settings: For sources that are not a corpus.
        workers: Processes that prepare files.
        each: Runs them, as `mose.parallel.run_each` does.
        progress: Called with the progress so far.

    Returns:
        Number of tokens, the added ones included; less than asked for if the texts are too few.

    Raises:
        ConfigError: ``size`` is too small.
        DataError: As for ``build_corpus``, or the corpus holds tokens.
        OutputError: ``out`` holds something else.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    require(size > _ALPHABET, "--size", size, f"more than the {_ALPHABET} bytes")
    with TemporaryDirectory(prefix="mose-corpus-") as work, new_folder(out) as folder:
        corpus = Path(sources[0])
        if len(sources) > 1 or not is_stored(corpus):
            corpus = Path(work) / "corpus"
            build_corpus(sources, corpus, settings, workers=workers, each=each, progress=progress)
        tokenizer = Tokenizer(models.BPE())
        # StarCoder 2's own steps: digits apart, then GPT-2's expression over bytes.
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(_texts(corpus, progress), trainer)
        tokenizer.add_special_tokens([*ADDED.values()])
        tokenizer.save(str(folder / TOKENIZER))
        names = {"bos_token": END, "eos_token": END, "unk_token": END, "pad_token": END, **ADDED}
        write_json(folder / "special_tokens_map.json", names)
        write_json(
            folder / "tokenizer_config.json",
            {
                **names,
                "tokenizer_class": "PreTrainedTokenizerFast",
                "padding_side": "left",
                "clean_up_tokenization_spaces": False,
            },
        )
    return int(tokenizer.get_vocab_size(with_added_tokens=True))


def _texts(corpus: Path, progress: ProgressCallback) -> Iterator[str]:
    shards = open_shards(corpus, text_of="Name a corpus built without --tokenizer, or the sources themselves.")
    for number, shard in enumerate(shards):
        progress(Progress("count words", number, len(shards)))
        for file in shard.files():
            yield file.units.tobytes().decode("utf8", "replace")
