"""The card of a model on the hub: metadata that the hub reads, and how to use the model."""

from __future__ import annotations

from mose.model.settings import ModelSettings

_USE = "## Use with transformers and sentence-transformers"


def hub_card(settings: ModelSettings, text: str = "") -> str:
    """Text of ``README.md`` with metadata in front and the ways to load the model at the end.

    Args:
        settings: The model's.
        text: What the card says already; its own metadata and instructions stay.

    Example:
        >>> from mose.model.presets import preset
        >>> hub_card(preset("tiny")).splitlines()[:3]
        ['---', 'library_name: mose', 'pipeline_tag: sentence-similarity']
    """
    exits = ", ".join(map(str, settings.exits))
    if not text:
        text = f"# Multi-exit encoder for code\n\nExits: {exits}; {settings.num_layers} blocks.\n"
    if not text.startswith("---\n"):
        text = f"{_metadata()}\n{text}"
    return text if _USE in text else f"{text.rstrip()}\n\n{_usage(settings)}"


def _metadata() -> str:
    tags = ("code", "code-search", "sentence-transformers", "feature-extraction", "early-exit", "mose")
    lines = ["---", "library_name: mose", "pipeline_tag: sentence-similarity", "tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join([*lines, "---", ""])


def _usage(settings: ModelSettings) -> str:
    exit_layer = settings.exits[len(settings.exits) // 2]
    width = settings.width_of(exit_layer)
    return f"""{_USE}

`pip install 'mose[train]' 'sentence-transformers>=6'`. MODEL is this folder or repository.

```python
from sentence_transformers import SentenceTransformer

# The flag lets sentence-transformers import the installed package mose; this folder holds no code.
model = SentenceTransformer(MODEL, trust_remote_code=True, truncate_dim={max(1, width // 2)})
model.encode_query(["parse an ISO date"], exit={exit_layer})  # any of the exits {", ".join(map(str, settings.exits))}
model.encode_document(["def parse(text): ..."], exit={exit_layer})
```

```python
import mose.integrations.transformers  # AutoModel and AutoTokenizer know the model from here on
from transformers import AutoModel, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained(MODEL), AutoModel.from_pretrained(MODEL)
model(**tokenizer(["def parse(text): ..."], return_tensors="pt"), output_hidden_states=True)
```

To search a source tree with it, offline and without torch: `mose export MODEL runtime/`, then
`mose search "parse an ISO date" . --model runtime/`.
"""
