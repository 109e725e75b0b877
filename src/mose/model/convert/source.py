"""What a conversion reads: a folder, or a repository of the hub that becomes one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mose.errors import ModelError
from mose.json_reading import read_json
from mose.model.folder import WEIGHTS_FILE, StoredTensor, copy_file, read_header

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "LICENSE*", "NOTICE*", "README.md")
"""What is fetched: no code, no pickled weights."""
_INDEX = f"{WEIGHTS_FILE}.index.json"
_WHOLE = "Copy the whole folder of the model again."
_TOKEN_FILES = ("special_tokens_map.json", "tokenizer_config.json")


def source_folder(name_or_folder: str | Path) -> Path:
    """A folder as it is; the files of a repository on the hub, fetched into the hub's cache.

    Raises:
        ModelError: Neither a folder nor a repository that can be fetched.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    name = str(name_or_folder)
    if not _REPOSITORY.fullmatch(name):
        raise ModelError("No such folder", got=name, allowed="a model folder, or owner/name of a repository on the hub")
    # Our commands ask no hub; the user has just named one.
    os.environ["HF_HUB_OFFLINE"] = os.environ.get("MOSE_HUB_OFFLINE", "0")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"{name} is not a folder and could not be fetched from the hub ({str(error).splitlines()[0]})",
            remedy="Check the name and the network, or copy the repository here and name its folder.",
        ) from error


def read_settings(file: Path) -> dict[str, Any]:
    """The JSON object of a foreign file of settings.

    Raises:
        ModelError: It is missing or damaged.
    """
    if not file.is_file():
        raise ModelError(f"{file.parent} is not a model folder: it has no {file.name}", remedy=_WHOLE)
    try:
        values = read_json(file)
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} is damaged ({error})", remedy=_WHOLE) from error
    if not isinstance(values, dict):
        raise ModelError(f"{file} is damaged (not a JSON object)", remedy=_WHOLE)
    return values


def stored_tensors(folder: Path) -> Mapping[str, StoredTensor]:
    """The tensors of a folder by name, from one file or several; no weights are read.

    Raises:
        ModelError: No weights, damaged or pickled ones, or a file of several is missing.
    """
    if (folder / _INDEX).is_file():
        files = read_settings(folder / _INDEX).get("weight_map")
        names = sorted({*files.values()} if isinstance(files, dict) else ())
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise ModelError(f"{folder / _INDEX} is damaged (no map of weights)", remedy=_WHOLE)
        return {name: tensor for file in names for name, tensor in read_header(folder / file).items()}
    require_safetensors(folder)
    return read_header(folder / WEIGHTS_FILE)


def require_safetensors(folder: Path) -> None:
    """Raise `ModelError` for a folder whose weights are pickled alone."""
    if not (folder / WEIGHTS_FILE).is_file() and any(folder.glob("pytorch_model*.bin")):
        raise ModelError(f"{folder} holds pickled weights, which can run code when loaded",
                         remedy="Save it as safetensors first.")  # fmt: skip


def copy_notices(source: Path, folder: Path) -> None:
    """Copy licences and notices; the source's card becomes NOTICE-source.md."""
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name.startswith(("LICENSE", "NOTICE")):
            copy_file(file, folder / file.name)
    if (source / "README.md").is_file():
        copy_file(source / "README.md", folder / "NOTICE-source.md")


def special_tokens(folder: Path, files: Sequence[str] = _TOKEN_FILES) -> dict[str, str]:
    """Special tokens by the keys of our config, as the files beside a tokenizer spell them; later files win.

    Raises:
        ModelError: One of the files is damaged.
    """
    named: dict[str, Any] = {}
    for name in files:
        if (folder / name).is_file():
            named |= {key: value for key, value in read_settings(folder / name).items() if value is not None}
    tokens: dict[str, str] = {}
    for key, token in named.items():
        spelled = token.get("content") if isinstance(token, dict) else token
        if key.endswith("_token") and isinstance(spelled, str):
            tokens[key] = spelled
    return tokens
