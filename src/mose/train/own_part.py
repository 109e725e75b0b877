"""The part that a task trains beside the encoder and keeps in its checkpoints: classifiers, heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from mose.model.encoder import MoseModel


@dataclass(frozen=True, slots=True)
class OwnPart:
    """A module whose parameters have names of their own beside those of the model."""

    prefix: str
    """Prefix of each name, with its dot."""
    module: nn.Module

    def named_trained(self, model: MoseModel) -> list[tuple[str, nn.Parameter]]:
        """Name and parameter of whatever is trained of the model and of this part, in a fixed order."""
        own = [(self.prefix + name, parameter) for name, parameter in self.module.named_parameters()]
        every = [*model.named_parameters(), *own]
        return [(name, parameter) for name, parameter in every if parameter.requires_grad]

    def tensors(self) -> dict[str, Tensor]:
        """The part's state, on the CPU."""
        state = self.module.state_dict()
        return {self.prefix + name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `tensors` returned; other names are ignored."""
        own = {
            name.removeprefix(self.prefix): tensor for name, tensor in tensors.items() if name.startswith(self.prefix)
        }
        self.module.load_state_dict(own)
