"""Model folders in transformers: once this is imported, ``AutoConfig``, ``AutoModel`` and ``AutoTokenizer`` read them.

Example:
    >>> import mose.integrations.transformers                                            # doctest: +SKIP
    >>> tokenizer = AutoTokenizer.from_pretrained("checkpoints/small")                   # doctest: +SKIP
    >>> model = AutoModel.from_pretrained("checkpoints/small")                           # doctest: +SKIP
    >>> model(**tokenizer(["def f(url): ..."], return_tensors="pt"), exit=3).pooler_output.shape  # doctest: +SKIP
    torch.Size([1, 256])
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mose.errors import MissingExtraError, ModelError

try:
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.modeling_outputs import BaseModelOutputWithPooling
except ImportError as error:
    raise MissingExtraError("torch and transformers are not installed",
                            remedy="Install them with: pip install 'mose[train]'") from error  # fmt: skip

import torch
from torch import Tensor

from mose.integrations.card import hub_card
from mose.integrations.tokenizer import MoseTokenizer
from mose.model.encoder import MoseModel
from mose.model.folder import copy_companions, write_modules
from mose.model.transformers_config import MoseConfig


class MoseAutoModel(MoseModel):  # type: ignore[no-untyped-call, unused-ignore]
    """The encoder with the interface of a transformers model; ``mose.model.encoder`` has that of this package."""

    main_input_name = "input_ids"

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        exit: int | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **_: Any,
    ) -> Any:
        """Hidden states at one exit; blocks above it are not run.

        Args:
            input_ids: Token ids [B,T].
            attention_mask: 1 for real tokens, 0 for padding on either side; all real if None.
            exit: Exit to leave at; the deepest if None.
            output_hidden_states: Also give the embeddings and the states after every block, as they would leave there.
            return_dict: False for a tuple.

        Returns:
            ``last_hidden_state`` [B,T,D], ``pooler_output`` [B,W] and, if asked for, ``hidden_states``. The pooler's
            output is the exit's embedding without the share of exit 0 (``table_share``), which reads words rather than
            token ids: ``mose.integrations.sentence_transformers`` and ``mose.Encoder`` add it.

        Raises:
            ModelError: The model has no such exit, or it has no blocks.
        """
        depth = self.settings.exits[-1] if exit is None else exit
        self.settings.check_exit(depth)
        if depth == 0:
            raise ModelError("exit 0 reads words, not token ids", got=0, allowed="an exit above 0",
                             remedy="Use mose.Encoder or sentence-transformers for exit 0.")  # fmt: skip
        keep_BT = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        stage = self.begin(input_ids, keep_BT)
        wants_all = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states = [stage.hidden_BTD]
        for depth_now in range(1, depth + 1) if wants_all else (depth,):
            stage = self.climb(stage, depth_now)
            states.append(self.leave(stage))
        output = BaseModelOutputWithPooling(
            last_hidden_state=states[-1],
            pooler_output=self.project(depth, states[-1], keep_BT),
            hidden_states=tuple(states) if wants_all else None,
        )
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    def get_input_embeddings(self) -> Any:
        """The table of token vectors; None for a model of exit 0 alone."""
        return None if self.embeddings is None else self.embeddings.tokens

    def save_pretrained(  # type: ignore[override, unused-ignore]
        self, save_directory: str | Path, *args: Any, **kwargs: Any
    ) -> None:
        """Write a model folder for transformers, sentence-transformers and ``mose``, with a model card.

        Tokenizer, licences and the text of the card come from the folder that the model was loaded from.
        """
        push = kwargs.pop("push_to_hub", False)
        target = Path(save_directory)
        super().save_pretrained(target, *args, **kwargs)
        write_modules(target)
        source = Path(self.name_or_path or "")
        if self.name_or_path and source.is_dir() and source.resolve() != target.resolve():
            copy_companions(source, target)
        card = target / "README.md"
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        card.write_text(hub_card(self.settings, text), encoding="utf-8")
        if push:
            self.push_to_hub(kwargs.get("repo_id") or target.name)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:  # type: ignore[override, unused-ignore]
        """Upload what ``save_pretrained`` writes to a repository on the hub, made if it is missing.

        Args:
            repo_id: ``owner/name``.
            kwargs: ``private`` and ``token`` as of ``HfApi.create_repo``; all others as of ``HfApi.upload_folder``.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=kwargs.pop("token", None))
        private = kwargs.pop("private", None)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            repository = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            return api.upload_folder(repo_id=repository, folder_path=folder, **kwargs)


AutoConfig.register("mose", MoseConfig, exist_ok=True)
AutoModel.register(MoseConfig, MoseAutoModel, exist_ok=True)
AutoTokenizer.register(MoseConfig, fast_tokenizer_class=MoseTokenizer, exist_ok=True)  # type: ignore[no-untyped-call, unused-ignore]
