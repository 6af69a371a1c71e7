"""What falls because a benchmark or a held-out file holds it, and what must not fall."""

import gzip
import json
from pathlib import Path

import numpy as np

from models.training.benchmark_problems import read_infilling_benchmark, read_mbpp
from models.training.decontaminate import (
    Benchmark,
    Contamination,
    Decontaminator,
    name_hash,
    problem_shingles,
    without_functions,
)
from models.training.document import Document
from models.training.shingles import token_hashes

PROBLEM = '''def has_close_pair(numbers, threshold):
    """ Tell whether any two of the numbers given lie nearer to each other than the threshold. """
    for i, one in enumerate(numbers):
        for other in numbers[i + 1:]:
            if abs(one - other) < threshold:
                return True
    return False
'''
UNRELATED = "".join(
    f"def area_{i}(width, height):\n    return width * height + {i}\n" for i in range(9)
)
HELD_OUT = "".join(f"class Row{i}:\n    cell = read_cell(sheet, {i}, 'name')\n" for i in range(40))

BENCHMARK = Benchmark(
    "bench",
    [problem_shingles([PROBLEM])],
    frozenset(map(name_hash, ["has_close_pair", "median"])),
    single_words=True,
)
DECONTAMINATOR = Decontaminator([BENCHMARK], [HELD_OUT])


def document(text: str, source: str = "source", language: str = "python") -> Document:
    return Document(source, "package/module.py", language, text)


def check_text(text: str, rule: str | None) -> None:
    found = Contamination()
    kept = DECONTAMINATOR.clean([document(text)], [token_hashes(text)], found)
    assert kept == [rule is None]
    assert list(found.dropped) == ([rule] if rule else [])


def check_cut(text: str, left: str | None) -> None:
    outcome = DECONTAMINATOR.cut(document(text), Contamination())
    assert (outcome and outcome.text) == left


def test_unrelated_code_stays() -> None:
    check_text(UNRELATED, None)
    check_cut(UNRELATED, UNRELATED)


def test_a_solution_under_another_name_falls() -> None:
    check_text(UNRELATED + PROBLEM.replace("has_close_pair", "near"), "bench_text")


def test_a_docstring_alone_falls() -> None:
    check_text(UNRELATED + "# " + PROBLEM.split('"""')[1].replace("\n", ""), "bench_text")


def test_another_layout_does_not_hide_a_solution() -> None:
    check_text(UNRELATED + PROBLEM.replace("    ", "  ").replace(" + ", "+"), "bench_text")


def test_ten_tokens_in_common_are_an_idiom() -> None:
    check_text(UNRELATED + "for i, one in enumerate(numbers):\n    print(one)\n", None)


def test_boilerplate_of_many_sources_does_not_fall_until_it_is_a_large_part() -> None:
    phrase = "# any two of the numbers given lie nearer to each other than the\n"
    texts = [UNRELATED + phrase + f"x = {i}\n" for i in range(4)]
    documents = [document(text, source=f"source {i}") for i, text in enumerate(texts)]
    tokens = [token_hashes(text) for text in texts]
    assert DECONTAMINATOR.clean(documents, tokens, Contamination()) == [True] * 4
    same_source = [document(text) for text in texts]
    assert DECONTAMINATOR.clean(same_source, tokens, Contamination()) == [False] * 4
    whole = [UNRELATED + PROBLEM + f"x = {i}\n" for i in range(4)]
    whole_tokens = [token_hashes(text) for text in whole]
    assert DECONTAMINATOR.clean(documents, whole_tokens, Contamination()) == [False] * 4


def test_lists_of_numbers_are_nobodys_text() -> None:
    numbers = "x = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]\n"
    listed = Benchmark("bench", [problem_shingles([numbers])], frozenset())
    kept = Decontaminator([listed]).clean(
        [document(numbers)], [token_hashes(numbers)], Contamination()
    )
    assert kept == [True]


def test_copies_of_held_out_files_fall_even_in_part() -> None:
    check_text(HELD_OUT, "held_out")
    check_text(HELD_OUT[: len(HELD_OUT) // 2] + UNRELATED, "held_out")
    check_text(UNRELATED * 4 + HELD_OUT[:200], None)


def test_functions_with_a_benchmarks_name_are_cut_and_the_rest_stays() -> None:
    named = "@cache\ndef has_close_pair(\n    a,\n):\n    return a\n"
    check_cut(UNRELATED + named + UNRELATED, UNRELATED + UNRELATED)


def test_a_document_of_little_else_falls() -> None:
    check_cut("import math\n" + PROBLEM, None)


def test_a_single_word_counts_only_at_the_top_level() -> None:
    method = "class Series:\n    def median(self):\n        return 1\n"
    check_cut(UNRELATED + method, UNRELATED + method)
    check_cut(UNRELATED + "def median(a):\n    return 1\n", UNRELATED)


def test_a_name_of_several_words_counts_anywhere() -> None:
    method = "class Series:\n    x = 1\n\n    def has_close_pair(self):\n        return 1\n"
    check_cut(UNRELATED + method, UNRELATED + "class Series:\n    x = 1\n\n")


def test_a_cut_that_breaks_the_syntax_drops_the_document() -> None:
    check_cut(UNRELATED + "class Series:\n    def has_close_pair(self):\n        return 1\n", None)


def test_other_languages_are_judged_by_text_alone() -> None:
    text = "function has_close_pair() {}\ndef has_close_pair():\n"
    outcome = DECONTAMINATOR.cut(document(text, language="javascript"), Contamination())
    assert outcome == document(text, language="javascript")


def test_without_functions_leaves_names_in_strings_alone() -> None:
    text = 'TEXT = """\ndef has_close_pair():\n"""\n'
    assert without_functions(text, {"has_close_pair"}) == text


def test_infilling_sets_are_read_whole(tmp_path: Path) -> None:
    head, tail = PROBLEM.split("    for i", 1)
    row = {"entry_point": "has_close_pair", "prompt": head, "suffix": tail.partition("\n")[2]}
    row["canonical_solution"] = "    for i" + tail.partition("\n")[0] + "\n"
    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    benchmark = read_infilling_benchmark(tmp_path)
    assert np.array_equal(benchmark.problems[0], problem_shingles([PROBLEM]))
    assert benchmark.name_hashes == {name_hash("has_close_pair")}


def test_mbpp_names_are_those_that_the_tests_call(tmp_path: Path) -> None:
    code = "def step_of(x):\n    return x\ndef sum_of_all(a):\n    return step_of(a)\n"
    row = {"text": "Sum.", "code": code, "test_list": ["assert sum_of_all(1) == 1"]}
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps(row) + "\n")
    assert read_mbpp(path).name_hashes == {name_hash("sum_of_all")}
