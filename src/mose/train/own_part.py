"""Learners that train a part of their own beside the encoder and keep it in their checkpoints: classifiers, heads."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mose.model.encoder import MoseModel


class OwnPartLearner:
    """What such learners share.

    Args:
        model: The encoder.
        prefix: Prefix of the names of the part's parameters, with its dot.
        part: The part.
    """

    def __init__(self, model: MoseModel, prefix: str, part: nn.Module) -> None:
        self.model = model
        self._prefix = prefix
        self._part = part

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        """Name and parameter of whatever is trained, in a fixed order."""
        own = [(self._prefix + name, parameter) for name, parameter in self._part.named_parameters()]
        every = [*self.model.named_parameters(), *own]
        return [(name, parameter) for name, parameter in every if parameter.requires_grad]

    def after_step(self) -> None:
        """Do nothing: no parameter has a range."""

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model and the optimizer."""
        return {self._prefix + name: tensor for name, tensor in self._part.state_dict().items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``tensors`` returned; other names are ignored."""
        prefix = self._prefix
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        self._part.load_state_dict(own)
