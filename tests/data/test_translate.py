"""Questions and translations by a model: requests, their order, and accepted answers."""

import json
import lzma
from collections import Counter
from typing import get_type_hints

import pytest

from mose.cli import main
from mose.data.pairs import write_objects
from mose.data.translate.answers import keep_answers, labelled_lines, read_answers
from mose.data.translate.asking import as_request, questions, translations, write_requests
from mose.data.translate.checks import fenced, plain_words, question_fault, syntax_fault, translation_fault
from mose.data.translate.prompts import FUNCTION, PROMPTS, TARGETS
from mose.errors import DataError
from mose.languages.tables import word_set

CODE = """\
def merge_overlapping(spans):
    spans = sorted(spans)
    merged = [spans[0]]
    for first, last in spans[1:]:
        if first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged"""


def row(number, language="python", kind="doc", code=CODE, source="pypi:spans"):
    return {
        "query": "Joins spans that touch each other into longer ones",
        "code": code.replace("merge_overlapping", f"merge_overlapping_{number}"),
        "language": language,
        "kind": kind,
        "group": f"spans/src/spans/{language}.py:merge_overlapping_{number}",
        "source": source,
        "path": f"src/spans/{language}.py",
        "license": "MIT",
    }


def lines(path):
    with lzma.open(path, "rt", encoding="utf8") as file:
        return [json.loads(line) for line in file]


def answer(id_, content, finish="stop"):
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return {"custom_id": id_, "response": {"status_code": 200, "body": {"model": "tiny", "choices": [choice]}}}


COMMON = word_set("join the ranges that overlap in a list of calls where is it how wrong result first last")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("join ranges that overlap in a list", ""),
        ("where is `merged` the result", "reads like code"),
        ("where is max() of the calls", "reads like code"),
        ("where does spanList join the calls", "reads like code"),
        ("how does merge overlapping join the calls", "says the name"),
        ("where are spans put in the list", "says a rare identifier"),
        ("I'm sorry, but that is not in the list", "refusal"),
        ("join it", "too short"),
        ("how does the function join the ranges", "speaks of the code"),
        ("joins spans that touch each other into longer ones", "says a rare identifier"),
        ("join the ranges " * 20, "too long"),
        ("где находится список перекрывающихся диапазонов join the list", "not English"),
        ("repeat a failed download with growing pauses", "repeats an example"),
        ("how is it done", "says nothing by itself"),
        ("where is it handled in different ways", "says nothing by itself"),
        ("the ranges are not used as expected", "says nothing by itself"),
        ("the error code of a join is wrong", ""),
        ("ranges of the configuration file are lost", ""),
        ("where are ranges read from the file", ""),
        ("where does this file join ranges", "speaks of the code"),
        ("how does the code join ranges", "speaks of the code"),
    ],
)
def test_question_is_refused_for_its_fault(question, reason):
    examples = frozenset(
        text
        for role, content in FUNCTION.head
        if role == "assistant"
        for text in labelled_lines(content, FUNCTION.labels).values()
    )
    found = question_fault(question, code=CODE, name="merge_overlapping", common=COMMON, about="", examples=examples)
    assert found == reason


def test_question_about_a_file_may_not_mention_the_file():
    question = "how are ranges of the file joined"
    assert question_fault(question, code=CODE, name="", common=COMMON, examples=frozenset()) == "speaks of the code"


@pytest.mark.parametrize(
    ("label", "question", "reason"),
    [
        ("search", "what is a list of ranges", "another kind of line"),
        ("where", "what is a list of ranges", "another kind of line"),
        ("problem", "how are ranges of the list joined", "another kind of line"),
        ("search", "join ranges of the list", ""),
        ("where", "Where are ranges of the list joined", ""),
        ("problem", "ranges of the list overlap", ""),
    ],
)
def test_question_is_of_the_kind_that_was_asked_for(label, question, reason):
    found = question_fault(question, label=label, code=CODE, name="join_all", common=COMMON, examples=frozenset())
    assert found == reason


def test_words_that_identifiers_share_with_plain_english_are_not_rare():
    code = "def decode_jpeg_calendar(sketchHstore, oneof):\n    return bitmap(oneof)"
    said = [("pypi:a", "reads jpeg and oneof"), ("pypi:b", "a jpeg with hstore"), ("pypi:c", "JPEG in hstore")]

    def fault(question):
        return question_fault(question, code=code, name="", common=plain_words(said), examples=frozenset())

    assert fault("sketch a calendar of the year") == ""
    assert fault("read a picture from a JPEG") == ""
    assert fault("read a picture from hstore") == "says a rare identifier"
    assert fault("read a picture with oneof fields") == "says a rare identifier"


def test_question_may_not_repeat_the_documentation():
    about = "Join the ranges that overlap."
    assert (
        question_fault(
            "join the ranges that overlap", code="", name="", common=COMMON, about=about, examples=frozenset()
        )
        == "repeats the documentation"
    )


RUST = """\
fn merge_overlapping(mut spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    spans.sort();
    let mut merged = vec![spans[0]];
    for &(first, last) in &spans[1..] {
        let end = merged.len() - 1;
        if first <= merged[end].1 {
            merged[end].1 = merged[end].1.max(last);
        } else {
            merged.push((first, last));
        }
    }
    merged
}"""


@pytest.mark.parametrize(
    ("translated", "target", "reason"),
    [
        (RUST, "rust", ""),
        (RUST, "go", "does not parse"),
        (RUST[:-3], "rust", "does not parse"),
        (CODE, "python", "echo"),
        ("fn a() {}", "rust", "far shorter or longer"),
        (RUST + "\n// " + "x" * 3000, "rust", "far shorter or longer"),
        (RUST.replace("spans.sort();", "// TODO: sort"), "rust", "left something out"),
        (RUST.replace("spans.sort();", "// I'm sorry, I cannot sort"), "rust", "refusal"),
        (RUST.replace("spans.sort();", "// Sort implementation"), "rust", "left something out"),
        (RUST.replace("spans.sort();", "// Implement the sort here"), "rust", "left something out"),
        (RUST.replace("spans.sort();", "// Sorted already, for simplicity"), "rust", "left something out"),
        (RUST + "\nfn main() {\n    merge_overlapping(vec![]);\n}", "rust", "adds a usage example"),
        ("", "rust", "no fenced code"),
        ("let a = 1;\n" * 30, "javascript", "defines nothing"),
    ],
)
def test_translation_is_refused_for_its_fault(translated, target, reason):
    assert translation_fault(translated, code=CODE, target=target) == reason


SAMPLES = {
    "c": "int twice(int a) { return 2 * a; }",
    "cpp": "#include <vector>\nint size(const std::vector<int>& a) { return a.size(); }",
    "go": "func twice(a int) int { return 2 * a }",
    "java": "public static int twice(int a) { return 2 * a; }",
    "javascript": "const twice = (a) => 2 * a;",
    "php": "function twice(int $a): int { return 2 * $a; }",
    "python": "def twice(a):\n    return 2 * a",
    "ruby": "def twice(a)\n  2 * a\nend",
    "rust": "fn twice(a: i32) -> i32 { 2 * a }",
}


def test_every_target_language_has_a_sample():
    assert set(SAMPLES) == set(TARGETS)


@pytest.mark.parametrize("language", sorted(SAMPLES))
def test_a_lone_function_parses_in_its_language(language):
    assert syntax_fault(SAMPLES[language], language) == ""
    assert syntax_fault(SAMPLES[language].replace("(", "(("), language) == "does not parse"


def test_c_plus_plus_is_no_translation_into_c():
    code = "#include <string>\n\nclass Command : public Base {\npublic:\n    void run() {}\n};"
    assert (syntax_fault(code, "c"), syntax_fault(code, "cpp")) == ("another language", "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```c++\nint a;\n```", "int a;"),
        ("```\nint a;\n```\nand\n```\nint b;\n```", ""),
        ("int a;", ""),
        ("```c\nint a;", ""),
    ],
)
def test_only_one_closed_fence_counts(text, code):
    assert fenced(text) == code


def test_any_beginning_of_the_questions_is_balanced():
    rows = [row(number, language) for language, count in (("python", 40), ("go", 9)) for number in range(count)]
    rows += [row(number, kind="file") | {"group": f"spans/{number}:"} for number in range(20)]
    asked = questions(rows)
    assert Counter(prompt.task for prompt, _, _ in asked[:20]) == {"function": 16, "file": 4}
    functions = [found["language"] for prompt, _, found in asked if prompt.task == "function"]
    assert Counter(functions[:18]) == {"python": 9, "go": 9}
    assert len(asked) == 69


def test_a_function_is_asked_about_once():
    asked = questions([row(1, kind="name"), row(1, kind="doc"), row(1, kind="name")])
    assert [found["kind"] for _, _, found in asked] == ["doc"]


def test_translations_go_to_other_languages_in_like_numbers():
    asked = translations([row(number) for number in range(800)])
    counts = Counter(found["target"] for _, _, found in asked)
    assert set(counts) == set(TARGETS) - {"python"}
    assert min(counts.values()) > 60


def test_methods_are_not_translated():
    method = row(1) | {"group": "spans/a.py:Spans.merge"}
    assert translations([method, row(2, code=CODE.replace("sorted(spans)", "self.spans"))]) == []


def test_requests_are_the_same_every_time_and_leave_sources_out(tmp_path):
    write_objects(tmp_path / "mined.jsonl.xz", [row(1), row(2, source="pypi:django"), row(3), row(3)])
    for name in ("a", "b"):
        write_requests([tmp_path / "mined.jsonl.xz"], tmp_path / name, questions, without=frozenset({"pypi:django"}))
    assert lines(tmp_path / "a/requests.jsonl.xz") == lines(tmp_path / "b/requests.jsonl.xz")
    assert {found["source"] for found in lines(tmp_path / "a/rows.jsonl.xz")} == {"pypi:spans"}
    ids = [request["custom_id"] for request in lines(tmp_path / "a/requests.jsonl.xz")]
    assert len(ids) == len(set(ids)) == 2
    assert all(id_.startswith(FUNCTION.name) for id_ in ids)


def test_duplicate_codes_are_one_request(tmp_path):
    write_objects(tmp_path / "mined.jsonl.xz", [row(1), row(1)])
    assert sum(write_requests([tmp_path / "mined.jsonl.xz"], tmp_path, translations).values()) == 1
    assert len(lines(tmp_path / "rows.jsonl.xz")) == 1


def test_prompts_with_other_words_have_another_name():
    names = {prompt.name for prompt in PROMPTS.values()}
    assert len(names) == len(PROMPTS)


def test_answers_become_pairs_or_keep_their_reason(tmp_path):
    write_objects(tmp_path / "mined.jsonl.xz", [row(number) for number in range(3)])
    write_requests([tmp_path / "mined.jsonl.xz"], tmp_path, questions)
    ids = [request["custom_id"] for request in lines(tmp_path / "requests.jsonl.xz")]
    good = "search: join ranges that overlap\nwhere: where is it decided that two ranges belong together\n"
    answers = [
        answer(ids[0], good + "problem: some ranges come back twice"),
        answer(ids[0], "search: a second answer to the same request"),
        answer(ids[1], good + "problem: Join ranges that overlap"),
        answer(ids[2], "```python\nprint(1)\n```"),
        answer("stranger", "search: nothing"),
    ]
    write_objects(tmp_path / "answers.jsonl.xz", answers)
    counts = read_answers(tmp_path, [tmp_path / "answers.jsonl.xz"], least_common=1)
    assert counts == {
        "requests": 3,
        "answers": 3,
        "foreign": 1,
        "accepted": {"function-search python": 2, "function-where python": 2, "function-problem python": 1},
        "rejected": {
            "function-problem: says the same twice": 1,
            "function-search: no line of this kind": 1,
            "function-where: no line of this kind": 1,
            "function-problem: no line of this kind": 1,
        },
    }
    taken = lines(tmp_path / "accepted.jsonl.xz")
    assert taken[0]["query"] == "join ranges that overlap"
    assert taken[0]["license"] == "MIT"
    assert taken[0]["writer"] == "tiny"


def test_translated_code_keeps_the_group_of_its_source(tmp_path):
    write_objects(tmp_path / "mined.jsonl.xz", [row(number) for number in range(40)])
    write_requests([tmp_path / "mined.jsonl.xz"], tmp_path, translations)
    to_rust = [found for found in lines(tmp_path / "rows.jsonl.xz") if found["target"] == "rust"]
    answers = [
        answer(to_rust[0]["id"], f"```rust\n{RUST}\n```"),
        answer(to_rust[1]["id"], f"```rust\n{RUST}", "length"),
    ]
    write_objects(tmp_path / "answers.jsonl.xz", answers)
    read_answers(tmp_path, [tmp_path / "answers.jsonl.xz"])
    [taken] = lines(tmp_path / "accepted.jsonl.xz")
    assert (taken["language"], taken["from"], taken["code"], taken["group"]) == (
        "rust",
        "python",
        RUST,
        to_rust[0]["group"],
    )
    assert [found["reason"] for found in lines(tmp_path / "rejected.jsonl.xz")] == ["cut off"]


def test_an_answer_that_is_not_a_batch_result_is_an_error(tmp_path):
    write_objects(tmp_path / "mined.jsonl.xz", [row(1)])
    write_requests([tmp_path / "mined.jsonl.xz"], tmp_path, questions)
    id_ = lines(tmp_path / "rows.jsonl.xz")[0]["id"]
    write_objects(tmp_path / "answers.jsonl.xz", [{"custom_id": id_, "response": None}])
    with pytest.raises(DataError, match=r"answers.jsonl.xz, line 1 is not an answer"):
        read_answers(tmp_path, [tmp_path / "answers.jsonl.xz"])


def test_command_writes_requests_and_reads_answers(tmp_path, capsys):
    write_objects(tmp_path / "mined.jsonl.xz", [row(number) for number in range(3)])
    out = str(tmp_path / "asked")
    assert main(["pairs", "ask", str(tmp_path / "mined.jsonl.xz"), "--out", out, "--limit", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"requests": {"function python": 2}}
    id_ = lines(tmp_path / "asked/rows.jsonl.xz")[0]["id"]
    write_objects(tmp_path / "answers.jsonl.xz", [answer(id_, "search: join ranges that overlap")])
    assert main(["pairs", "ask", "--out", out, "--answers", str(tmp_path / "answers.jsonl.xz")]) == 0
    assert "answers: 1" in capsys.readouterr().out


def test_a_folder_keeps_the_requests_and_answers_of_one_kind(tmp_path, capsys):
    """Another command, other pairs or fewer of them are refused; more of the same go on, and no answer is lost."""
    write_objects(tmp_path / "mined.jsonl.xz", [row(number) for number in range(4)])
    write_objects(tmp_path / "other.jsonl.xz", [row(number) for number in range(4, 6)])
    mined, out = str(tmp_path / "mined.jsonl.xz"), tmp_path / "asked"
    ask = ["pairs", "ask", mined, "--out", str(out)]
    assert main([*ask, "--limit", "2"]) == 0
    held = (out / "rows.jsonl.xz").read_bytes()
    for command, said in (
        (["pairs", "translate", mined, "--out", str(out)], "holds 2 requests of mose pairs ask"),
        (["pairs", "ask", str(tmp_path / "other.jsonl.xz"), "--out", str(out)], "holds 2 requests of mose pairs ask"),
        ([*ask, "--limit", "1"], "holds 1 requests of mose pairs ask"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err
        assert (out / "rows.jsonl.xz").read_bytes() == held
    first, second = (found["id"] for found in lines(out / "rows.jsonl.xz"))
    for number, id_ in enumerate((first, second)):
        write_objects(tmp_path / f"{number}.jsonl", [answer(id_, "search: join ranges that overlap")])
        assert main(["pairs", "ask", "--out", str(out), "--answers", str(tmp_path / f"{number}.jsonl")]) == 0
    assert len(lines(out / "accepted.jsonl.xz")) == 2
    assert main(ask) == 0
    assert len(lines(out / "rows.jsonl.xz")) == 4
    (out / "rows.jsonl.xz").unlink()
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "stage.json").write_text("{}")
    for folder in (out, tmp_path / "final"):
        assert main([*ask[:-1], str(folder)]) == 2
        assert "of another run" in capsys.readouterr().err


def test_an_error_in_a_batch_file_gives_way_to_an_answer(tmp_path):
    """The forms of OpenAI's error file (expired; refused with its status) and of vLLM's."""
    write_objects(tmp_path / "mined.jsonl.xz", [row(number) for number in range(3)])
    write_requests([tmp_path / "mined.jsonl.xz"], tmp_path / "asked", questions)
    ids = [found["id"] for found in lines(tmp_path / "asked/rows.jsonl.xz")]
    refused = {"status_code": 400, "request_id": "r", "body": {"error": {"message": "too long", "code": "invalid"}}}
    write_objects(
        tmp_path / "errors.jsonl",
        [
            {"id": "b", "custom_id": ids[0], "response": None, "error": {"code": "batch_expired", "message": "late"}},
            {"id": "b", "custom_id": ids[1], "response": refused, "error": None},
            {
                "id": "v",
                "custom_id": ids[2],
                "response": {"status_code": 400, "request_id": "v"},
                "error": {"code": 400},
            },
        ],
    )
    write_objects(tmp_path / "late.jsonl", [answer(ids[0], "search: join ranges that overlap"), answer(ids[1], None)])
    keep_answers(tmp_path / "asked", [tmp_path / "errors.jsonl"])
    counts = read_answers(tmp_path / "asked", [tmp_path / "asked/answers.jsonl"], least_common=1)
    assert counts["rejected"] == {f"function-{label}: refused by the server": 3 for label in FUNCTION.labels}
    keep_answers(tmp_path / "asked", [tmp_path / "late.jsonl", tmp_path / "errors.jsonl"])
    counts = read_answers(tmp_path / "asked", [tmp_path / "asked/answers.jsonl"], least_common=1)
    assert counts["accepted"] == {"function-search python": 1}
    assert counts["rejected"]["function-search: no line of this kind"] == 1
    assert counts["rejected"]["function-search: refused by the server"] == 1


def test_known_questions_about_similar_code_are_shown_and_not_repeated(tmp_path, capsys):
    def known(name, code, say):
        return [
            {"kind": f"function-{label}", "query": f"{label} {say}", "code": code, "language": "python", "group": name, "path": f"{name}.py"}
            for label in FUNCTION.labels
        ]  # fmt: skip

    near = known(
        "near", CODE.replace("merged", "joined").replace("merge_overlapping", "join_touching"), "ranges that touch"
    )
    far = known(
        "far", "def send(mail):\n    with smtp(host) as server:\n        server.sendmail(mail)\n", "how mail is sent"
    )
    own = known("own", row(1)["code"], "its own question")
    half = known("half", CODE + "\n    # once more", "only two lines")[:2]
    write_objects(tmp_path / "known.jsonl", [*far, *near, *own, *half])
    write_objects(tmp_path / "mined.jsonl.xz", [row(1)])
    ask = ["pairs", "ask", str(tmp_path / "mined.jsonl.xz"), "--examples", str(tmp_path / "known.jsonl")]
    for count, expected in ((1, ["ranges that touch"]), (5, ["how mail is sent", "ranges that touch"])):
        out = tmp_path / f"asked{count}"
        assert main([*ask, "--num-examples", str(count), "--out", str(out)]) == 0
        [request] = lines(out / "requests.jsonl.xz")
        shown = [turn["content"] for turn in request["body"]["messages"][len(FUNCTION.head) : -1]]
        assert shown[1::2] == ["\n".join(f"{label}: {label} {say}" for label in FUNCTION.labels) for say in expected]
        assert shown[-2].startswith("near.py\n```python\n")
    assert main([*ask[:3], "--out", str(out)]) == 2  # other requests: without examples
    write_objects(tmp_path / "answers.jsonl", [answer(request["custom_id"], "search: search ranges that touch")])
    assert main([*ask[:2], "--out", str(out), "--answers", str(tmp_path / "answers.jsonl"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["rejected"]["function-search: repeats an example"] == 1


def test_known_translations_are_shown_for_the_same_languages(tmp_path, capsys):
    write_objects(tmp_path / "mined.jsonl.xz", [row(number) for number in range(40)])
    source = row(100, code=CODE.replace("merged", "joined"))
    known = [source] + [
        {**source, "kind": "translation", "language": target, "from": "python", "code": RUST if target == "rust" else f"// {target}"}
        for target in ("rust", "go")
    ]  # fmt: skip
    write_objects(tmp_path / "known.jsonl", [*known, {**known[1], "group": "unknown"}])
    out = tmp_path / "out"
    command = ["pairs", "translate", str(tmp_path / "mined.jsonl.xz"), "--examples", str(tmp_path / "known.jsonl")]
    assert main([*command, "--out", str(out)]) == 0
    shown = Counter()
    for found, request in zip(lines(out / "rows.jsonl.xz"), lines(out / "requests.jsonl.xz"), strict=True):
        turns = [turn["content"] for turn in request["body"]["messages"][1:-1]]
        shown[found["target"], len(turns)] += 1
        if turns:
            assert f"to {'Rust' if found['target'] == 'rust' else 'Go'}" in turns[0]
    assert {target for target, count in shown if count} == {"rust", "go"}
    to_rust = next(found["id"] for found in lines(out / "rows.jsonl.xz") if found["target"] == "rust")
    write_objects(tmp_path / "answers.jsonl", [answer(to_rust, f"```rust\n{RUST}\n```")])
    keep_answers(out, [tmp_path / "answers.jsonl"])
    counts = read_answers(out, [out / "answers.jsonl"])
    assert counts["rejected"] == {"translation: repeats an example": 1}
    write_objects(tmp_path / "none.jsonl", [source])
    assert main([*command[:4], str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "x")]) == 2
    assert "no examples" in capsys.readouterr().err


def test_requests_are_what_openai_and_vllm_take():
    """A line of a batch file, checked by the types of OpenAI's own client."""
    pytest.importorskip("openai")
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
    from pydantic import TypeAdapter

    request = as_request("function-1", FUNCTION, "```python\nx = 1\n```", "tiny")
    assert request.keys() == {"custom_id", "method", "url", "body"}
    assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
    assert request["body"].keys() <= get_type_hints(CompletionCreateParamsNonStreaming).keys()
    TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(request["body"])


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"task": "sing"},
        {"task": "translate"},
        {"kind": 3},
        {"query": None},
        {"code": 1},
        {"source": ...},
        {"group": ...},
    ],
)
def test_rows_that_were_not_asked_about_are_refused(tmp_path, change):
    asked = {"id": "function-1", "task": "function", **row(1), **change}
    write_objects(tmp_path / "rows.jsonl.xz", [{name: value for name, value in asked.items() if value is not ...}])
    write_objects(tmp_path / "answers.jsonl", [])
    with pytest.raises(DataError, match=r"rows\.jsonl\.xz, line 1 is not a row"):
        read_answers(tmp_path, [tmp_path / "answers.jsonl"])


def test_answers_to_a_folder_without_requests_are_refused(tmp_path):
    with pytest.raises(DataError, match="has no requests"):
        read_answers(tmp_path, [tmp_path / "answers.jsonl"])
