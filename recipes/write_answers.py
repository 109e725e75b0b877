"""Answer a file of OpenAI batch requests with a Qwen2 model on one GPU, at tens of thousands of tokens a second.

    python recipes/write_answers.py packed/ prompts.jsonl.xz --out answers/ --seconds 500

Needs torch, safetensors and tokenizers, nothing else. ``packed/`` is what ``pack_gguf.py`` writes. Answers go to
``answers/part-NNN.jsonl.xz`` as OpenAI batch results; requests that have an answer there (or in ``--done``) are not
asked again. Requests are answered in the order of the file, so that an interrupted run has answered its beginning.

A fixed number of slots share one key/value cache. A step writes one token in every slot, and is replayed as a CUDA
graph. When enough slots are free, the next prompts are read into them together.

Shapes: S slots, P prompts read together, T tokens, L cache length, H query heads, G key/value heads, C width of a
head, D width, V tokens.
"""

from __future__ import annotations

import argparse
import json
import lzma
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import safe_open
from tokenizers import Tokenizer

END_TOKENS = ("<|im_end|>", "<|endoftext|>")
SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


# -- requests and answers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    id: str
    messages: list[dict[str, str]]
    max_tokens: int
    temperature: float


def read_requests(path: Path) -> list[Request]:
    """Lines of an OpenAI batch file, plain or .xz."""
    with lzma.open(path, "rt", encoding="utf8") if path.suffix == ".xz" else path.open(encoding="utf8") as lines:
        values = [json.loads(line) for line in lines if line.strip()]
    return [
        Request(
            id=value["custom_id"],
            messages=value["body"]["messages"],
            max_tokens=value["body"]["max_tokens"],
            temperature=float(value["body"].get("temperature", 1)),
        )
        for value in values
    ]


def as_chat(messages: list[dict[str, str]]) -> str:
    """The messages in Qwen's chat template, up to where the answer begins."""
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": SYSTEM}, *messages]
    turns = "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
    return turns + "<|im_start|>assistant\n"


class AnswerFiles:
    """Answers in ``part-NNN.jsonl.xz``; a part is complete when its name is there."""

    def __init__(self, folder: Path, *, seconds_a_part: float, name: str) -> None:
        self.folder = folder
        self.seconds_a_part = seconds_a_part
        self.name = name
        self.lines: list[str] = []
        self.since = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, request: Request, text: str, *, num_read: int, num_written: int, finish: str) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        usage = {"prompt_tokens": num_read, "completion_tokens": num_written}
        body = {"model": self.name, "choices": [choice], "usage": usage}
        answer = {"custom_id": request.id, "response": {"status_code": 200, "body": body}, "error": None}
        self.lines.append(json.dumps(answer, ensure_ascii=False) + "\n")

    def write(self, *, now: bool = False) -> None:
        """Write a part if it is time."""
        if not self.lines or (not now and time.monotonic() < self.since + self.seconds_a_part):
            return
        number = sum(1 for _ in self.folder.glob("part-*.jsonl.xz"))
        path = self.folder / f"part-{number:03d}.jsonl.xz"
        temporary = path.with_name("." + path.name)
        with lzma.open(temporary, "wt", encoding="utf8", preset=1) as file:
            file.writelines(self.lines)
        temporary.rename(path)
        self.lines.clear()
        self.since = time.monotonic()


def answered(folders: list[Path]) -> set[str]:
    """Ids of the requests that have an answer."""
    found = set()
    for folder in folders:
        for path in sorted(folder.glob("part-*.jsonl.xz")):
            with lzma.open(path, "rt", encoding="utf8") as lines:
                found.update(json.loads(line)["custom_id"] for line in lines)
    return found


# -- weights ----------------------------------------------------------------------------------------------------------


def dequantised(blocks: torch.Tensor, kind: str) -> torch.Tensor:
    """Float32 weights of a tensor of llama.cpp's k-quant blocks, row by row; other kinds come back as they are."""
    if kind == "Q4_K":
        return _q4_k(blocks.reshape(-1, 144)).reshape(*blocks.shape[:-1], -1)
    if kind == "Q6_K":
        return _q6_k(blocks.reshape(-1, 210)).reshape(*blocks.shape[:-1], -1)
    return blocks.float()


def _halves(blocks: torch.Tensor) -> torch.Tensor:
    return blocks.contiguous().view(torch.float16).float()


def _q4_k(blocks: torch.Tensor) -> torch.Tensor:
    """256 weights in 144 bytes: two halves, 8 six-bit scales and minima in 12 bytes, 128 bytes of nibbles."""
    scale, least = _halves(blocks[:, 0:2]), _halves(blocks[:, 2:4])
    low, middle, high = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = torch.cat([low & 63, (high & 15) | ((low >> 2) & 48)], dim=1).float() * scale
    minima = torch.cat([middle & 63, (high >> 4) | ((middle >> 2) & 48)], dim=1).float() * least
    nibbles = blocks[:, 16:].reshape(-1, 4, 1, 32)
    values = torch.cat([nibbles & 15, nibbles >> 4], dim=2).reshape(-1, 8, 32).float()
    return values * scales.unsqueeze(2) - minima.unsqueeze(2)


def _q6_k(blocks: torch.Tensor) -> torch.Tensor:
    """256 weights in 210 bytes: 128 of low nibbles, 64 of high bits, 16 scales, one half."""
    low, high = blocks[:, :128].reshape(-1, 2, 1, 64), blocks[:, 128:192].reshape(-1, 2, 1, 32)
    scales = blocks[:, 192:208].contiguous().view(torch.int8).float() * _halves(blocks[:, 208:210])
    nibbles = torch.cat([low & 15, low >> 4], dim=2).reshape(-1, 8, 32)
    tops = torch.cat([(high >> shift) & 3 for shift in (0, 2, 4, 6)], dim=2).reshape(-1, 8, 32)
    values = (nibbles | (tops << 4)).float() - 32
    return values.reshape(-1, 16, 16) * scales.unsqueeze(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    norm_in: torch.Tensor
    qkv: torch.Tensor
    qkv_bias: torch.Tensor
    out: torch.Tensor
    norm_mlp: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class Model:
    """Weights and settings of a packed model on a device."""

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        with safe_open(folder / "model.safetensors", "pt", device=device) as file:
            about = file.metadata()
            types, settings = json.loads(about["types"]), json.loads(about["settings"])

            def load(*names: str, suffix: str = "weight") -> torch.Tensor:
                full = [f"{name}.{suffix}" for name in names]
                return torch.cat([dequantised(file.get_tensor(name), types[name]) for name in full]).to(dtype)

            self.layers = []
            for number in range(settings["layers"]):
                at = f"blk.{number}."
                qkv = [f"{at}attn_{part}" for part in "qkv"]
                self.layers.append(
                    Layer(
                        norm_in=load(at + "attn_norm"),
                        qkv=load(*qkv),
                        qkv_bias=load(*qkv, suffix="bias"),
                        out=load(at + "attn_output"),
                        norm_mlp=load(at + "ffn_norm"),
                        gate_up=load(at + "ffn_gate", at + "ffn_up"),
                        down=load(at + "ffn_down"),
                    )
                )
            self.norm_out = load("output_norm")
            self.embedding_VD = dequantised(file.get_tensor("embedding"), types["embedding"]).to(dtype)
        self.heads, self.kv_heads = settings["heads"], settings["kv_heads"]
        self.head_width = self.layers[0].out.shape[1] // self.heads
        self.epsilon = settings["norm_epsilon"]
        self.rope_base = settings["rope_base"]
        self.name = f"{settings['name']} {settings.get('gguf_sha256', '')[:12]}".strip()
        self.device, self.dtype = device, dtype

    def norm(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(hidden, (hidden.shape[-1],), weight, self.epsilon)

    def rotary(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines, each [length, C]."""
        steps = torch.arange(0, self.head_width, 2, device=self.device, dtype=torch.float32) / self.head_width
        angles = torch.outer(torch.arange(length, device=self.device).float(), self.rope_base**-steps)
        angles = torch.cat([angles, angles], dim=1)
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    def qkv(
        self, layer: Layer, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rotated queries and keys, and values: [..., heads, C]."""
        mixed = F.linear(self.norm(hidden, layer.norm_in), layer.qkv, layer.qkv_bias)
        mixed = mixed.unflatten(-1, (-1, self.head_width))
        rotated, values = mixed[..., : self.heads + self.kv_heads, :], mixed[..., self.heads + self.kv_heads :, :]
        first, second = rotated.chunk(2, dim=-1)
        rotated = rotated * cos + torch.cat([-second, first], dim=-1) * sin
        return rotated[..., : self.heads, :], rotated[..., self.heads :, :], values

    def rest(self, layer: Layer, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """What follows attention in a block."""
        hidden = hidden + F.linear(attended, layer.out)
        gate, up = F.linear(self.norm(hidden, layer.norm_mlp), layer.gate_up).chunk(2, dim=-1)
        return hidden + F.linear(F.silu(gate) * up, layer.down)


# -- writing ----------------------------------------------------------------------------------------------------------


class Writer:
    """Slots that write one token each in every step."""

    def __init__(
        self,
        model: Model,
        *,
        slots: int,
        length: int,
        most_new: int,
        ends: list[int],
        seed: int = 0,
        eager: bool = False,
    ) -> None:
        self.model = model
        self.slots, self.length, self.most_new = slots, length, most_new
        self.cos_LC, self.sin_LC = model.rotary(length)
        shape = (slots, model.kv_heads, length, model.head_width)
        new: Callable[..., torch.Tensor] = torch.zeros
        self.keys = [new(shape, device=model.device, dtype=model.dtype) for _ in model.layers]
        self.values = [new(shape, device=model.device, dtype=model.dtype) for _ in model.layers]
        self.every_slot = torch.arange(slots, device=model.device)
        self.token = torch.zeros(slots, dtype=torch.long, device=model.device)
        self.position = torch.zeros_like(self.token)
        self.count = torch.zeros_like(self.token)
        self.limit = torch.zeros_like(self.token)
        self.done = torch.ones(slots, dtype=torch.bool, device=model.device)
        self.temperature = torch.zeros(slots, 1, device=model.device)
        self.written = torch.zeros(slots, most_new, dtype=torch.long, device=model.device)
        self.ends = torch.tensor(ends, device=model.device)
        self.eager = eager or model.device == "cpu"
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        torch.manual_seed(seed)

    @torch.inference_mode()
    def read(self, slots: list[int], prompts: list[list[int]], limits: list[int], temperatures: list[float]) -> None:
        """Reads prompts into free slots. The last token is left to the first step, which writes after it."""
        model, device = self.model, self.model.device
        longest = max(len(prompt) for prompt in prompts)
        padded = [prompt + [0] * (longest - len(prompt)) for prompt in prompts]
        at = torch.tensor(slots, device=device)
        hidden_PTD = model.embedding_VD[torch.tensor(padded, device=device)]
        cos, sin = self.cos_LC[:longest, None], self.sin_LC[:longest, None]
        for number, layer in enumerate(model.layers):
            q, k, v = (x.transpose(1, 2) for x in model.qkv(layer, hidden_PTD, cos, sin))
            self.keys[number][at, :, :longest] = k
            self.values[number][at, :, :longest] = v
            # Padding is at the end, where a causal mask hides it from the prompt.
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            hidden_PTD = model.rest(layer, hidden_PTD, attended.transpose(1, 2).flatten(2))
        self.token[at] = torch.tensor([prompt[-1] for prompt in prompts], device=device)
        self.position[at] = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
        self.limit[at] = torch.tensor(limits, device=device)
        self.temperature[at] = torch.tensor(temperatures, device=device)[:, None]
        self.count[at] = 0
        self.done[at] = False

    @torch.inference_mode()
    def step(self, length: int) -> None:
        """Writes one token in every slot that is not done; attends to the first ``length`` positions of the cache."""
        graph = self.graphs.get(length)
        if graph is not None:
            graph.replay()
        elif self.eager:
            self._step(length)
        else:
            self.graphs[length] = self._captured(length)
            self.graphs[length].replay()

    def _captured(self, length: int) -> torch.cuda.CUDAGraph:
        state = (self.token, self.position, self.count, self.done, self.written)
        saved = [tensor.clone() for tensor in state]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._step(length)
        torch.cuda.current_stream().wait_stream(side)
        pool = next(iter(self.graphs.values())).pool() if self.graphs else None
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            self._step(length)
        for tensor, before in zip(state, saved, strict=True):
            tensor.copy_(before)  # the trial steps wrote; what they put into the cache is written again
        return graph

    def _step(self, length: int) -> None:
        model = self.model
        hidden_SD = model.embedding_VD[self.token]
        cos, sin = self.cos_LC[self.position][:, None], self.sin_LC[self.position][:, None]
        seen = torch.arange(length, device=model.device) <= self.position[:, None]
        mask = torch.zeros(seen.shape, device=model.device, dtype=model.dtype).masked_fill_(~seen, float("-inf"))
        mask = mask[:, None, None].expand(-1, model.kv_heads, model.heads // model.kv_heads, -1)
        for number, layer in enumerate(model.layers):
            q, k, v = model.qkv(layer, hidden_SD, cos, sin)
            keys, values = self.keys[number], self.values[number]
            keys[self.every_slot, :, self.position] = k
            values[self.every_slot, :, self.position] = v
            # The query heads of one key head become query positions, so that nothing is copied.
            q_SGHC = q.unflatten(1, (model.kv_heads, -1))
            attended = F.scaled_dot_product_attention(
                q_SGHC, keys[:, :, :length], values[:, :, :length], attn_mask=mask
            )
            hidden_SD = model.rest(layer, hidden_SD, attended.flatten(1))
        logits_SV = F.linear(model.norm(hidden_SD, model.norm_out), model.embedding_VD).float()
        # Gumbel noise: the largest of these is a draw from the softmax at that temperature, or the largest logit at 0.
        noise_SV = -torch.empty_like(logits_SV).exponential_().clamp_(min=1e-12).log_()
        token = (logits_SV + self.temperature * noise_SV).argmax(dim=1)
        ended = (token[:, None] == self.ends).any(dim=1)
        alive = ~self.done
        where = self.count.clamp(max=self.most_new - 1)
        before = self.written[self.every_slot, where]
        self.written[self.every_slot, where] = torch.where(alive, token, before)
        self.count += alive
        self.token.copy_(torch.where(alive, token, self.token))
        self.done |= ended | (self.count >= self.limit)
        self.position += ~self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    num_answers: int
    num_read: int
    num_written: int


def write_answers(
    writer: Writer,
    requests: list[Request],
    prompts: Callable[[int], list[int]],
    *,
    deadline: float,
    window: int,
    refill: int,
    read_tokens: int,
    steps_a_look: int = 8,
) -> Iterator[tuple[Request, list[int], int, Progress]]:
    """Yields a request, the tokens of its answer, the length of its prompt, and the sums so far.

    Args:
        writer: The slots.
        requests: In order of priority; within a window they are sorted by length.
        prompts: Tokens of the prompt of a request, by its number.
        deadline: Of ``time.monotonic``; answers that are not finished then are lost.
        window: Requests that are sorted together.
        refill: Read new prompts as soon as so many slots are free.
        read_tokens: Padded tokens that are read together, at most.
        steps_a_look: Steps between two looks at which slots are done.
    """
    waiting: deque[int] = deque()
    next_window = 0
    busy: dict[int, int] = {}  # slot -> number of the request
    free = list(range(writer.slots))
    num_answers = num_read = num_written = 0
    while time.monotonic() < deadline:
        while len(waiting) < writer.slots and next_window < len(requests):
            numbers = range(next_window, min(next_window + window, len(requests)))
            waiting.extend(sorted(numbers, key=lambda number: len(prompts(number)) + requests[number].max_tokens))
            next_window = numbers.stop
        if waiting and (len(free) >= refill or not busy):
            while free and waiting:
                taken = _to_read_together(waiting, prompts, most=len(free), most_tokens=read_tokens)
                slots, free = free[: len(taken)], free[len(taken) :]
                writer.read(
                    slots,
                    [prompts(number) for number in taken],
                    [min(requests[number].max_tokens, writer.most_new) for number in taken],
                    [requests[number].temperature for number in taken],
                )
                busy.update(zip(slots, taken, strict=True))
        if not busy:
            return
        needed = max(len(prompts(n)) + min(requests[n].max_tokens, writer.most_new) for n in busy.values())
        length = min(-(-needed // 128) * 128, writer.length)
        for _ in range(steps_a_look):
            writer.step(length)
        done = writer.done.tolist()
        finished = [slot for slot in busy if done[slot]]
        if not finished:
            continue
        counts = writer.count[finished].tolist()
        tokens = writer.written[finished].tolist()
        for slot, count, written in zip(finished, counts, tokens, strict=True):
            number = busy.pop(slot)
            free.append(slot)
            num_answers += 1
            num_read += len(prompts(number))
            num_written += count
            sums = Progress(num_answers=num_answers, num_read=num_read, num_written=num_written)
            yield requests[number], written[:count], len(prompts(number)), sums


def _to_read_together(
    waiting: deque[int], prompts: Callable[[int], list[int]], *, most: int, most_tokens: int
) -> list[int]:
    """Takes requests from the front, as many as fit padded to the longest prompt; at least one."""
    taken: list[int] = []
    longest = 0
    while waiting and len(taken) < most:
        longest = max(longest, len(prompts(waiting[0])))
        if taken and longest * (len(taken) + 1) > most_tokens:
            break
        taken.append(waiting.popleft())
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder written by pack_gguf.py")
    parser.add_argument("requests", type=Path, help="OpenAI batch requests, .jsonl or .jsonl.xz")
    parser.add_argument("--out", type=Path, required=True, help="folder of answers")
    parser.add_argument("--done", type=Path, nargs="*", default=[], help="more folders of answers: not asked again")
    parser.add_argument("--seconds", type=float, default=540, help="stop after so long, loading included")
    parser.add_argument("--seconds-a-part", type=float, default=90)
    parser.add_argument("--most", type=int, default=None, help="answer the first so many only")
    parser.add_argument("--slots", type=int, default=1024)
    parser.add_argument("--length", type=int, default=1152, help="longest prompt and answer together, in tokens")
    parser.add_argument("--most-new", type=int, default=512, help="longest answer, in tokens")
    parser.add_argument("--window", type=int, default=8192, help="requests sorted by length together")
    parser.add_argument("--refill", type=int, default=96, help="free slots at which new prompts are read")
    parser.add_argument("--read-tokens", type=int, default=65_536, help="prompt tokens read together")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.monotonic()

    def log(text: str) -> None:
        print(f"{time.monotonic() - start:6.1f} s  {text}", flush=True)

    done = answered([given.out, *given.done])
    requests = [request for request in read_requests(given.requests)[: given.most] if request.id not in done]
    log(f"{len(requests)} requests, {len(done)} answered before")
    tokenizer = Tokenizer.from_file(str(given.model / "tokenizer.json"))
    model = Model(given.model, given.device, getattr(torch, given.dtype))
    log(f"model of {len(model.layers)} blocks")
    encoded: list[list[int]] = []
    fitting: list[Request] = []
    num_too_long = 0
    for first in range(0, len(requests), 8192):
        some = requests[first : first + 8192]
        encodings = tokenizer.encode_batch_fast([as_chat(request.messages) for request in some])
        for request, encoding in zip(some, encodings, strict=True):
            if len(encoding.ids) + min(request.max_tokens, given.most_new) > given.length:
                num_too_long += 1
                continue
            encoded.append(encoding.ids)
            fitting.append(request)
    log(f"tokens counted: {sum(map(len, encoded))}; {num_too_long} requests are too long")
    ends = [tokenizer.token_to_id(token) for token in END_TOKENS]
    writer = Writer(
        model,
        slots=given.slots,
        length=given.length,
        most_new=given.most_new,
        ends=ends,
        seed=given.seed,
        eager=given.eager,
    )
    files = AnswerFiles(given.out, seconds_a_part=given.seconds_a_part, name=model.name)
    last_logged, begun = time.monotonic(), time.monotonic()
    sums = Progress(num_answers=0, num_read=0, num_written=0)
    for request, written, num_read, sums in write_answers(
        writer,
        fitting,
        encoded.__getitem__,
        deadline=start + given.seconds,
        window=given.window,
        refill=given.refill,
        read_tokens=given.read_tokens,
    ):
        finish = "stop" if written[-1] in ends else "length"
        text = tokenizer.decode(written)
        files.add(request, text, num_read=num_read, num_written=len(written), finish=finish)
        files.write()
        if time.monotonic() > last_logged + 10:
            last_logged = time.monotonic()
            log(_rates(sums, last_logged - begun))
    files.write(now=True)
    log("finished: " + _rates(sums, time.monotonic() - begun))


def _rates(sums: Progress, seconds: float) -> str:
    rates: dict[str, Any] = {
        "answers": sums.num_answers,
        "read": sums.num_read,
        "written": sums.num_written,
        "written/s": int(sums.num_written / seconds),
        "answers/s": round(sums.num_answers / seconds, 1),
    }
    if torch.cuda.is_available():
        rates["GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    return json.dumps(rates)


if __name__ == "__main__":
    main()
